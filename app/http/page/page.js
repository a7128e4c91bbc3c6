// Puts the page together: API key, model picker, the two sections.

import { FileScorer } from "./file.js";
import { KeyForm, Notice } from "./notice.js";
import { Review } from "./review.js";
import { askJson } from "./service.js";
import { element } from "./draw.js";

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

const review = new Review(new Notice($("review-notice"), keyForm));
new FileScorer(new Notice($("file-notice"), keyForm));
showModels();
$("text").focus();
if ($("text").value) review.changed(0);
