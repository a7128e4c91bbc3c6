// Puts the page together: tabs, API key, model picker, and what each tab holds.

import { Code } from "./code.js";
import { Comparison } from "./compare.js";
import { Feedback } from "./feedback.js";
import { FileScorer } from "./file.js";
import { History } from "./history.js";
import { KeyForm } from "./key.js";
import { Models } from "./models.js";
import { Notice } from "./notice.js";
import { Report } from "./report.js";
import { Review } from "./review.js";
import { Tabs } from "./tabs.js";
import { copy, fieldsOf, linkTo } from "./share.js";
import { element } from "./draw.js";

const SAMPLES = {
  praise: "I laughed, I cried, and I did not look at my watch once. The two leads are wonderful together, and the last ten minutes are perfect.",
  "a let-down": "A great cast and a lovely trailer, and then this. The plot makes no sense, the jokes are tired, and it goes on for ever.",
  mixed: "The photography is beautiful and the music even more so. Shame about the script! Still, I was never bored.",
  negation: "Not bad at all. I expected nothing, and it was not the mess that everybody said it was.",
};

const $ = (id) => document.getElementById(id);

const keyForm = new KeyForm();
const models = new Models(new Notice($("notice"), keyForm, { above: true }));

function offerSamples(review) {
  const buttons = Object.entries(SAMPLES).map(([name, text]) => {
    const button = element("button", { type: "button" }, name);
    button.addEventListener("click", () => review.show(text));
    return button;
  });
  review.part("review-notice").before(element("p", { className: "samples" }, element("span", {}, "Try:"), ...buttons));
}

/** A link has its texts behind the #, which browsers send to nobody, and the models that answered. */
function takeLink() {
  const fields = fieldsOf(location.hash);
  const { text, other, model, against } = fields;
  if (!text && !other) return;
  if (!against) models.choose(model);
  if (other || against) comparison.show(fields);
  else review.show(text);
  tabs.show(other || against ? "tab-compare" : "tab-review");
}

const comparison = new Comparison(keyForm, models);
const tabs = new Tabs($("tabs"), (tab) => tab === "tab-compare" && comparison.begin(review.text));
const review = new Review($("review"), "Paste or type a review", keyForm, () => models.chosen);
offerSamples(review);
review.part("review-notice").before($("history"));
review.part("facts").after($("feedback-part"), $("tools"));
new History(review, models);
new Code(review, models);
new Feedback(review, models, new Notice($("feedback-notice"), keyForm));
new FileScorer(new Notice($("file-notice"), keyForm), tabs, models, new Report(new Notice($("report-notice"), keyForm)));
$("copy-link").addEventListener("click", () => copy(linkTo({ text: review.text, model: models.name }), $("link"), $("link-said")));
review.addEventListener("change", () => {
  $("link").hidden = true;
  $("link-said").textContent = "";
});
// A link stands for the text that it came with.
$("views").addEventListener("input", () => location.hash && history.replaceState(null, "", location.pathname + location.search));
addEventListener("hashchange", takeLink);
models.addEventListener("choice", () => review.changed(0));
keyForm.onEvery(models.notice, () => models.load());
models.load();
review.part("text").focus();
takeLink();
if (review.text) review.changed(0);
