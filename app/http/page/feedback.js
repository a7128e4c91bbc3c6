// What somebody knows better: the right label of a text, sent to the service where that keeps it.

import { askJson, hasKey } from "./service.js";
import { element } from "./draw.js";
import { verdictOf } from "./verdict.js";

const $ = (id) => document.getElementById(id);

/** Asks whether an answer was right, where the service told with its models that it wants to know. */
export class Feedback {
  /** review: whose answers it is about; models: know whether feedback is wanted; notice: where errors are said. */
  constructor(review, models, notice) {
    Object.assign(this, { review, models, notice, answer: null });
    review.addEventListener("change", () => this.take(null));
    review.addEventListener("answer", ({ detail }) => this.take(detail));
    models.addEventListener("list", () => this.show());
    $("feedback-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.notice.clear();
      this.send(this.answer, this.asFilledIn());
    });
  }

  /** There is another answer, or, until it has come, none: what was filled in is not about the text any more. */
  take(answer) {
    this.answer = answer;
    this.text = this.review.text;
    this.notice.clear();
    $("feedback-send").disabled = !answer;
    if (!answer) return;
    $("feedback-form").reset();
    $("feedback").open = false;
    $("feedback-said").textContent = "";
    const said = verdictOf(answer).sure ? answer.label : "";
    $("feedback-title").textContent = said ? "Was this right?" : "Do you know the right label?";
    $("feedback-labels").replaceChildren(...Object.keys(answer.scores).map((label) => element(
      "label", { className: "plain" },
      element("input", { type: "radio", name: "right", value: label, required: true }), ` ${label}${label === said ? " (as answered)" : ""}`,
    )));
    this.show();
  }

  show() {
    $("feedback").hidden = !this.models.feedback || $("feedback-said").textContent !== "";
    $("feedback-key").hidden = !hasKey();
  }

  /** What is sent. Where the page was not sure it answered no label, so none is said to have been answered. */
  asFilledIn() {
    const { answer, text } = this;
    const comment = $("feedback-comment").value.trim();
    return {
      text, label: new FormData($("feedback-form")).get("right"), model: answer.model, version: answer.version,
      ...(verdictOf(answer).sure && { answered: answer.label }), ...(comment && { comment }),
    };
  }

  /** Sends it, again where the service says when, and says what became of it, unless there is another text by then. */
  async send(answer, filledIn) {
    $("feedback-send").disabled = true;
    let failure = null;
    try {
      await askJson("feedback", filledIn);
    } catch (error) {
      failure = error;
    }
    if (this.answer !== answer) return;
    $("feedback-send").disabled = false;
    if (failure) {
      this.notice.show(failure, () => this.answer === answer && this.send(answer, filledIn));
      return;
    }
    this.notice.clear();
    $("feedback-said").textContent = `Thank you. It is kept that this text is “${filledIn.label}”.`;
    this.show();
    $("feedback-said").focus();
  }
}
