// What a text speaks of, each thing with the label of what is said about it.

import { element, hueOf, percent } from "./draw.js";

/** Fills a list; characters: of the text, as code points, which is what places count. */
export function showAspects(list, characters, aspects) {
  const piece = ({ start, end }) => characters.slice(start, end).join("");
  list.replaceChildren(...aspects.map(({ aspect, label, score, mentions }) => {
    const said = [...new Set(mentions.map((mention) => piece(mention.said)))];
    return element(
      "li", { className: "sentence" },
      element("span", { className: `tag ${hueOf(label)}` }, label, " ", element("span", {}, percent(score))),
      element("span", {}, element("strong", {}, aspect), ` ${said.map((part) => `“${part}”`).join(" ")}`),
    );
  }));
}
