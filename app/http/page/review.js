// One review: answered while it is typed, explained when the typing rests.

import { askJson, inWords } from "./service.js";
import { drawCurve, drawShares, drawWords, element, hueOf, percent, showLegend, swatch } from "./draw.js";

const ANSWER_AFTER = 120;
const EXPLAIN_AFTER = 600;
const SAMPLES = {
  praise: "I laughed, I cried, and I did not look at my watch once. The two leads are wonderful together, and the last ten minutes are perfect.",
  "a let-down": "A great cast and a lovely trailer, and then this. The plot makes no sense, the jokes are tired, and it goes on for ever.",
  mixed: "The photography is beautiful and the music even more so. Shame about the script! Still, I was never bored.",
  negation: "Not bad at all. I expected nothing, and it was not the mess that everybody said it was.",
};

/** What is said in place of a label, by how far the model's answer can be trusted. */
const DOUBTS = {
  unsure: "Not sure: the model cannot tell",
  unreadable: "This does not look like English, or the model knows too few of its words",
};

const $ = (id) => document.getElementById(id);

/** Waits some milliseconds; rejects when the signal says so. */
const pause = (time, signal) => new Promise((resolve, reject) => {
  signal.addEventListener("abort", () => reject(signal.reason));
  setTimeout(resolve, time);
});

export class Review {
  constructor(notice) {
    this.notice = notice;
    this.running = new AbortController();
    $("text").addEventListener("input", () => this.changed(ANSWER_AFTER));
    for (const [name, text] of Object.entries(SAMPLES)) {
      const button = element("button", { type: "button" }, name);
      button.addEventListener("click", () => this.show(text));
      $("samples").append(button);
    }
    new ResizeObserver(() => this.showCurve()).observe($("result"));
  }

  show(text) {
    $("text").value = text;
    this.changed(0);
  }

  /** The text is another one: nothing that was said or asked about the old one counts any more. */
  changed(wait) {
    this.notice.clear();
    this.begin(wait);
  }

  begin(wait) {
    this.running.abort();
    this.running = new AbortController();
    this.clearExplanation();
    const text = $("text").value;
    if (!text.trim()) {
      $("result").hidden = true;
      return;
    }
    // The old answer goes when the new one is there, or after a moment (page.css).
    $("result").setAttribute("aria-busy", "true");
    this.read(text, wait, this.running.signal);
  }

  /** Answers and explains one text. After every wait the text may be another one: then the signal is aborted. */
  async read(text, wait, signal) {
    let answer;
    try {
      await pause(wait, signal);
      answer = await askJson("classify", { text }, signal);
      signal.throwIfAborted();
      this.notice.clear();
      this.showAnswer(answer);
    } catch (error) {
      if (signal.aborted) return;
      $("result").hidden = true;
      this.notice.show(error, () => this.begin(0));
      return;
    }
    if (answer.judgement !== "unreadable") await this.explain(text, wait && EXPLAIN_AFTER - wait, signal);
  }

  showAnswer({ label, score, scores, tokens, model, version, rating, truncated, unknown = 0, judgement = "ok" }) {
    const sure = judgement === "ok";
    $("label").textContent = sure ? label : DOUBTS[judgement] ?? DOUBTS.unsure;
    $("label").parentElement.className = `label ${sure ? hueOf(label) : "doubt"}`;
    $("score").textContent = sure ? percent(score) : "";
    const facts = [`${tokens} ${tokens === 1 ? "word" : "words"}`, `${model}/${version}`];
    if (unknown > 0) facts.unshift(`${percent(unknown)} of the words unknown to the model`);
    if (sure && typeof rating === "number") facts.unshift(`about ${rating.toFixed(1)} of 10 stars`);
    if (truncated) facts.push("too long to be read whole: beginning and end were read");
    $("facts").textContent = facts.join(" · ");
    const shares = Object.entries(scores).map(([name, share]) => ({ label: name, share }));
    $("shares").hidden = !sure;
    $("shares-legend").hidden = judgement === "unreadable";
    drawShares($("shares"), shares);
    showLegend($("shares-legend"), shares);
    $("result").hidden = false;
    $("result").setAttribute("aria-busy", "false");
  }

  async explain(text, wait, signal) {
    let slow;
    try {
      await pause(wait, signal);
      slow = setTimeout(() => { $("explaining").textContent = "Explaining …"; }, 300);
      const kinds = ["sentences", "tokens", "curve"];
      const answer = await askJson("classify", { text, explain: kinds }, signal);
      signal.throwIfAborted();
      this.clearExplanation();
      this.showExplanation(text, answer);
    } catch (error) {
      // The answer holds without its explanation, so this is said beside it and not as an error of the whole.
      if (!signal.aborted) $("explaining").textContent = inWords(error).message;
    } finally {
      clearTimeout(slow);
    }
  }

  clearExplanation() {
    this.curve = [];
    $("explaining").textContent = "";
    $("explanation").hidden = true;
    for (const id of ["words", "legend", "sentences", "curve", "curve-text"]) $(id).replaceChildren();
  }

  showExplanation(text, { label, scores, explanation }) {
    const labels = Object.keys(scores);
    // Of three labels a word may speak against one without speaking for a certain other.
    const other = labels.length === 2 ? labels.find((name) => name !== label) : "";
    $("explanation").hidden = false;
    drawWords($("words"), text, label, other, labels.length, explanation);
    $("legend").replaceChildren(
      ...swatch(hueOf(label), `speaks for ${label} `), ...swatch(hueOf(other), "speaks against it "),
      "· underlined: what each sentence says by itself",
    );
    $("sentence-details").hidden = explanation.sentences.length < 2;
    const characters = Array.from(text);
    $("sentences").replaceChildren(...explanation.sentences.map((sentence) => element(
      "li", {}, element("b", {}, `${sentence.label} ${percent(sentence.score)}`), characters.slice(sentence.start, sentence.end).join(""),
    )));
    this.curve = explanation.curve;
    $("curve-figure").hidden = !this.curve.length;
    if (!this.curve.length) return;
    this.showCurve();
    $("curve-title").textContent = `How sure it was of “${label}” after each word`;
    const scored = this.curve.map((point) => point.score);
    $("curve-text").textContent = `From ${percent(scored[0])} after the first word to ${percent(scored.at(-1))} after the last; `
      + `lowest ${percent(Math.min(...scored))}, highest ${percent(Math.max(...scored))}.`;
  }

  showCurve() {
    if (this.curve?.length) drawCurve($("curve"), this.curve);
  }
}
