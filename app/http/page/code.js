// The request for a text as one copies it into a program, and its answer.

import { copy } from "./share.js";
import { element } from "./draw.js";
import { hasKey } from "./service.js";

const KEY = "SENTIMENT_KEY";
const $ = (id) => document.getElementById(id);
const address = () => new URL(".", document.baseURI).href;
/** In single quotes, as a POSIX shell reads them. */
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const asked = (text, model) => ({ text, ...(model && { model }) });

/** What is shown of a text and its answer, by the name it has in the list. A key stays in the environment.
 * chosen: the model that is named; "" for none.
 */
const WRITTEN = {
  curl: (text, chosen) => [
    `curl -s ${shell(`${address()}classify`)} -H 'Content-Type: application/json' \\`,
    ...(hasKey() ? [`     -H "Authorization: Bearer $${KEY}" \\`] : []),
    `     -d ${shell(JSON.stringify(asked(text, chosen)))}`,
  ],
  Python: (text, chosen) => [
    ...(hasKey() ? ["import os", ""] : []),
    "from sentiment_service import Sentiment",
    "",
    `with Sentiment("${address()}"${hasKey() ? `, key=os.environ["${KEY}"]` : ""}${chosen && `, model="${chosen}"`}) as sentiment:`,
    `    result = sentiment.classify(${JSON.stringify(text)})`,
    "    print(result.label, result.score, result.judgement)",
  ],
  JavaScript: (text, chosen) => [
    `const response = await fetch("${address()}classify", {`,
    '  method: "POST",',
    `  headers: { "Content-Type": "application/json"${hasKey() ? `, Authorization: \`Bearer \${process.env.${KEY}}\`` : ""} },`,
    `  body: JSON.stringify(${JSON.stringify(asked(text, chosen))}),`,
    "});",
    "console.log(await response.json());",
  ],
  "JSON answer": (_, __, answer) => [JSON.stringify(answer, null, 2)],
};

export class Code {
  constructor(review, models) {
    Object.assign(this, { review, models });
    $("language").replaceChildren(...Object.keys(WRITTEN).map((name) => element("option", {}, name)));
    $("language").addEventListener("change", () => this.show());
    $("code").addEventListener("toggle", () => this.show());
    $("copy-code").addEventListener("click", () => copy($("snippet").textContent, $("snippet"), $("code-said")));
    review.addEventListener("change", () => this.take(null));
    review.addEventListener("answer", ({ detail }) => this.take(detail));
  }

  take(answer) {
    this.answer = answer;
    this.show();
  }

  show() {
    $("code-said").textContent = "";
    const lines = this.answer && $("code").open ? WRITTEN[$("language").value](this.review.text, this.models.chosen, this.answer) : [];
    $("snippet").textContent = lines.join("\n");
  }
}
