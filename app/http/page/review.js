// One text: answered while it is typed, explained when the typing rests.

import { askJson, inWords, pause } from "./service.js";
import { Aspects } from "./aspects.js";
import { drawCurve, drawShares, hueOf, percent, showLegend } from "./draw.js";
import { Notice } from "./notice.js";
import { Words } from "./words.js";
import { verdictOf } from "./verdict.js";

const ANSWER_AFTER = 120;
const EXPLAIN_AFTER = 600;
const REFERENCES = ["for", "aria-labelledby", "aria-describedby"];

/** A text field with its answer.
 *
 * place: gets it; label: of the field; model: gives the one that is to answer, "" for what is served; prefix: of the ids
 * of its parts, so that there may be several.
 * It fires "change" when the text is another one, "answer" with its answer, and "rest" when it has one and the typing
 * rests.
 */
export class Review extends EventTarget {
  constructor(place, label, keyForm, model, prefix = "") {
    super();
    this.model = model;
    this.running = new AbortController();
    this.parts = cloneTemplate(place, prefix);
    this.parts.get("text").labels[0].textContent = label;
    this.notice = new Notice(this.part("review-notice"), keyForm);
    this.words = new Words(this.part("words"), this.part("word-detail"));
    this.aspects = new Aspects(this.part("aspects-wanted"), this.part("aspects"), this.part("aspects-said"), async (wanted, signal) => {
      const { text } = this;
      return [text, (await this.why(text, ["aspects"], signal, wanted)).explanation.aspects];
    });
    this.part("text").addEventListener("input", () => this.changed(ANSWER_AFTER));
    new ResizeObserver(() => this.showCurve()).observe(this.part("curve-figure"));
  }

  part(name) {
    return this.parts.get(name);
  }

  get text() {
    return this.part("text").value;
  }

  /** Puts in a text that was not typed here. */
  show(text, wait = 0) {
    this.part("text").value = text;
    this.changed(wait);
  }

  /** What a request says. */
  asked(text) {
    const model = this.model();
    return { text, ...(model && { model }) };
  }

  /** The text is another one: nothing that was said or asked about the old one counts any more. */
  changed(wait) {
    this.notice.clear();
    this.tell("change");
    this.begin(wait);
  }

  begin(wait) {
    this.running.abort();
    this.running = new AbortController();
    this.clearExplanation();
    const { text } = this;
    if (!text.trim()) {
      this.part("result").hidden = true;
      return;
    }
    // The old answer goes when the new one is there, or after a moment (answer.css).
    this.part("result").setAttribute("aria-busy", "true");
    this.read(text, wait, this.running.signal);
  }

  tell(kind, answer) {
    this.dispatchEvent(new CustomEvent(kind, { detail: answer }));
  }

  /** Answers and explains one text. After every wait the text may be another one: then the signal is aborted. */
  async read(text, wait, signal) {
    let answer;
    try {
      await pause(wait, signal);
      answer = await askJson("classify", this.asked(text), signal);
      signal.throwIfAborted();
      this.notice.clear();
      this.showAnswer(answer);
    } catch (error) {
      if (signal.aborted) return;
      this.part("result").hidden = true;
      this.notice.show(error, () => this.begin(0));
      return;
    }
    this.tell("answer", answer);
    await pause(wait && EXPLAIN_AFTER - wait, signal).then(() => this.tell("rest", answer), () => {});
    if (answer.judgement !== "unreadable" && !signal.aborted) await this.explain(text, signal);
  }

  showAnswer(answer) {
    const { label, scores, tokens, model, version, rating, truncated, unknown = 0, judgement } = answer;
    const { before, label: said, after, reason, level, sure } = verdictOf(answer);
    for (const [name, words] of Object.entries({ sureness: before, label: said, score: after, reason })) {
      this.part(name).textContent = words;
    }
    this.part("verdict").className = `label level-${level} ${sure ? hueOf(label) : "doubt"}`;
    const starred = sure && typeof rating === "number";
    this.part("stars").textContent = starred ? `★ about ${rating.toFixed(1)} of 10 stars, if the writer gave any` : "";
    const facts = [`${tokens} ${tokens === 1 ? "token" : "tokens"}`, `${model}/${version}`];
    if (unknown > 0) facts.unshift(`${percent(unknown)} of the words unknown to the model`);
    if (truncated) facts.push("too long to be read whole: beginning and end were read");
    this.part("facts").textContent = facts.join(" · ");
    const shares = Object.entries(scores).map(([name, share]) => ({ label: name, share }));
    this.part("shares").hidden = !sure;
    this.part("shares-legend").hidden = judgement === "unreadable";
    drawShares(this.part("shares"), shares);
    showLegend(this.part("shares-legend"), shares);
    this.part("result").hidden = false;
    this.part("result").setAttribute("aria-busy", "false");
  }

  /** The answer with its explanation; aspects: what to look for. */
  why(text, explain, signal, aspects = []) {
    return askJson("classify", { ...this.asked(text), explain, ...(aspects.length && { aspects }) }, signal);
  }

  /** Explains a text. Aspects that somebody names are looked for by themselves, so that a name that cannot be looked for
   * costs nothing else.
   */
  async explain(text, signal) {
    const slow = setTimeout(() => { this.part("explaining").textContent = "Explaining …"; }, 300);
    try {
      const named = this.aspects.wanted.length > 0;
      const answer = await this.why(text, ["sentences", "tokens", "curve", ...(named ? [] : ["aspects"])], signal);
      signal.throwIfAborted();
      this.clearExplanation();
      this.showExplanation(text, answer);
      if (named) this.aspects.look(0);
      else this.aspects.show(text, answer.explanation.aspects ?? []);
    } catch (error) {
      // The answer holds without its explanation, so this is said beside it and not as an error of the whole.
      if (!signal.aborted) this.part("explaining").textContent = inWords(error).message;
    } finally {
      clearTimeout(slow);
    }
  }

  clearExplanation() {
    this.curve = [];
    this.words.clear();
    this.part("explanation").hidden = true;
    this.aspects.clear();
    for (const name of ["explaining", "legend", "curve", "curve-text"]) this.part(name).replaceChildren();
  }

  showExplanation(text, { label, scores, explanation }) {
    const labels = Object.keys(scores);
    // Of three labels a word may speak against one without speaking for a certain other.
    const other = labels.length === 2 ? labels.find((name) => name !== label) : "";
    this.part("explanation").hidden = false;
    this.words.show(text, label, other, explanation);
    this.part("legend").replaceChildren(...legendOf(label, other));
    this.curve = explanation.curve;
    this.part("curve-figure").hidden = !this.curve.length;
    if (!this.curve.length) return;
    this.showCurve();
    this.part("curve-title").textContent = `How probable “${label}” was after each word`;
    const scored = this.curve.map((point) => point.score);
    this.part("curve-text").textContent = `From ${percent(scored[0])} after the first word to ${percent(scored.at(-1))} after the last; `
      + `lowest ${percent(Math.min(...scored))}, highest ${percent(Math.max(...scored))}.`;
  }

  showCurve() {
    if (this.curve?.length) drawCurve(this.part("curve"), this.curve);
  }
}

/** The words that say what colours and lines mean, drawn like what they explain. */
function legendOf(label, other) {
  const drawn = (side, hue, words) => {
    const made = document.createElement("span");
    made.className = `word ${side} ${hue}`;
    made.textContent = words;
    return made;
  };
  return [drawn("for", hueOf(label), `solid line: for ${label}`), drawn("against", hueOf(other), "dotted: against"), "thicker: more"];
}

/** Puts a copy of the template into a place; its parts by their names. */
function cloneTemplate(place, prefix) {
  const copy = document.getElementById("reading").content.cloneNode(true);
  const parts = new Map();
  for (const part of copy.querySelectorAll("[data-part]")) {
    part.id = prefix + part.dataset.part;
    parts.set(part.dataset.part, part);
  }
  for (const name of REFERENCES) {
    for (const found of copy.querySelectorAll(`[${name}]`)) {
      found.setAttribute(name, found.getAttribute(name).split(" ").map((id) => prefix + id).join(" "));
    }
  }
  place.prepend(copy);
  return parts;
}
