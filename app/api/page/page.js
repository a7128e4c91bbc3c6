// Puts the page together: notices, API key, model picker, the two sections.

import { FileScorer } from "./file.js";
import { Review } from "./review.js";
import { ask, useKey } from "./service.js";
import { element } from "./draw.js";

const $ = (id) => document.getElementById(id);

/** The one place for errors. Tries again by itself where the service says when. */
class Notice {
  show(error, again) {
    clearTimeout(this.timer);
    $("notice").textContent = error.message;
    $("notice").hidden = false;
    if (error.needsKey) this.askForKey(again);
    else if (error.retryAfter && again) this.timer = setTimeout(again, 1000 * error.retryAfter);
  }

  clear() {
    clearTimeout(this.timer);
    $("notice").hidden = true;
  }

  askForKey(again) {
    $("key-form").hidden = false;
    $("key").focus();
    $("key-form").onsubmit = (event) => {
      event.preventDefault();
      useKey($("key").value.trim());
      $("key-form").hidden = true;
      this.clear();
      showModels();
      again?.();
    };
  }
}

const notice = new Notice();

async function showModels() {
  try {
    const { models } = await (await ask("models")).json();
    $("model").replaceChildren(...models.map((model) => {
      const accuracy = model.test_accuracy ? `, ${(100 * model.test_accuracy).toFixed(1)} % right on its test` : "";
      return element("option", { disabled: !model.served, selected: model.served }, `${model.model}/${model.version}${accuracy}`);
    }));
  } catch (error) {
    notice.show(error, showModels);
  }
}

const review = new Review(notice);
new FileScorer(notice);
showModels();
$("text").focus();
if ($("text").value) review.changed(0);
