// Puts the page together: tabs, API key, model picker, and what each tab holds.

import { FileScorer } from "./file.js";
import { KeyForm, Notice } from "./notice.js";
import { Review } from "./review.js";
import { Tabs } from "./tabs.js";
import { askJson } from "./service.js";
import { element } from "./draw.js";

const SAMPLES = {
  praise: "I laughed, I cried, and I did not look at my watch once. The two leads are wonderful together, and the last ten minutes are perfect.",
  "a let-down": "A great cast and a lovely trailer, and then this. The plot makes no sense, the jokes are tired, and it goes on for ever.",
  mixed: "The photography is beautiful and the music even more so. Shame about the script! Still, I was never bored.",
  negation: "Not bad at all. I expected nothing, and it was not the mess that everybody said it was.",
};

const $ = (id) => document.getElementById(id);

const keyForm = new KeyForm();
const notice = new Notice($("notice"), keyForm);

async function showModels() {
  try {
    const { models } = await askJson("models");
    notice.clear();
    $("model").replaceChildren(...models.map((model) => {
      const accuracy = model.test_accuracy ? `, ${(100 * model.test_accuracy).toFixed(1)} % right on its test` : "";
      return element("option", { disabled: !model.served, selected: model.served }, `${model.model}/${model.version}${accuracy}`);
    }));
  } catch (error) {
    notice.show(error, showModels);
  }
}

function offerSamples(review) {
  const buttons = Object.entries(SAMPLES).map(([name, text]) => {
    const button = element("button", { type: "button" }, name);
    button.addEventListener("click", () => review.show(text));
    return button;
  });
  review.part("text").after(element("p", { className: "samples" }, element("span", {}, "Try:"), ...buttons));
}

const tabs = new Tabs($("tabs"));
const review = new Review($("review"), "Paste or type a review", keyForm);
offerSamples(review);
new FileScorer(new Notice($("file-notice"), keyForm), tabs);
showModels();
review.part("text").focus();
if (review.text) review.changed(0);
