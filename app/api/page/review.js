// One review: answered while it is typed, explained when the typing rests.

import { askJson } from "./service.js";
import { drawCurve, drawShares, drawWords, element, hueOf, percent } from "./draw.js";

const ANSWER_AFTER = 120;
const EXPLAIN_AFTER = 600;
const SAMPLES = {
  praise: "I laughed, I cried, and I did not look at my watch once. The two leads are wonderful together, and the last ten minutes are perfect.",
  "a let-down": "A great cast and a lovely trailer, and then this. The plot makes no sense, the jokes are tired, and it goes on for ever.",
  mixed: "The photography is beautiful and the music even more so. Shame about the script! Still, I was never bored.",
  negation: "Not bad at all. I expected nothing, and it was not the mess that everybody said it was.",
};

const $ = (id) => document.getElementById(id);

export class Review {
  constructor(notice) {
    this.notice = notice;
    this.running = new AbortController();
    this.timers = [];
    $("text").addEventListener("input", () => this.changed(ANSWER_AFTER));
    for (const [name, text] of Object.entries(SAMPLES)) {
      const button = element("button", { type: "button" }, name);
      button.addEventListener("click", () => this.show(text));
      $("samples").append(button);
    }
  }

  show(text) {
    $("text").value = text;
    this.changed(0);
  }

  /** The text is another one: what was asked about the old one is of no use any more. */
  changed(wait) {
    this.running.abort();
    this.running = new AbortController();
    this.timers.forEach(clearTimeout);
    const text = $("text").value;
    if (!text.trim()) {
      $("result").hidden = true;
      this.notice.clear();
      return;
    }
    const { signal } = this.running;
    this.timers = [
      setTimeout(() => this.attempt(() => this.answer(text, signal)), wait),
      setTimeout(() => this.attempt(() => this.explain(text, signal)), wait ? EXPLAIN_AFTER : 0),
    ];
  }

  async attempt(work) {
    try {
      await work();
    } catch (error) {
      if (error.name === "AbortError") return;
      $("explaining").textContent = "";
      if (error.code === "no_words" || error.code === "blank_text") $("result").hidden = true;
      this.notice.show(error, () => this.changed(0));
    }
  }

  async answer(text, signal) {
    const answer = await askJson("classify", { text }, signal);
    this.notice.clear();
    this.showAnswer(answer);
  }

  showAnswer(answer) {
    $("result").hidden = false;
    $("label").textContent = answer.label;
    $("label").parentElement.className = `label ${hueOf(answer.label)}`;
    $("score").textContent = percent(answer.score);
    const facts = [`${answer.tokens} ${answer.tokens === 1 ? "word" : "words"}`, `${answer.model}/${answer.version}`];
    if (answer.rating !== undefined) facts.unshift(`about ${answer.rating.toFixed(1)} of 10 stars`);
    if (answer.truncated) facts.push("too long to be read whole: beginning and end were read");
    $("facts").textContent = facts.join(" · ");
    drawShares($("shares"), Object.entries(answer.scores).map(([label, share]) => ({ label, share })));
  }

  async explain(text, signal) {
    $("explanation").setAttribute("aria-busy", "true");
    const slow = setTimeout(() => { $("explaining").textContent = "Explaining …"; }, 300);
    try {
      const kinds = ["sentences", "tokens", "curve"];
      const answer = await askJson("classify", { text, explain: kinds }, signal);
      this.showExplanation(text, answer);
    } catch (error) {
      if (error.name !== "AbortError") $("words").textContent = "";
      throw error;
    } finally {
      clearTimeout(slow);
      if (!signal.aborted) {
        $("explaining").textContent = "";
        $("explanation").setAttribute("aria-busy", "false");
      }
    }
  }

  showExplanation(text, { label, scores, explanation }) {
    const others = Object.keys(scores).filter((name) => name !== label);
    const other = others.length === 1 ? others[0] : "";
    drawWords($("words"), text, label, other, explanation);
    const swatch = (name, words) => [element("span", { className: `swatch ${hueOf(name)}` }), ` ${words} `];
    $("legend").hidden = false;
    $("legend").replaceChildren(
      ...swatch(label, `speaks for ${label}`), ...swatch(other, `speaks against it`), "· underlined: what each sentence says by itself",
    );
    $("sentence-details").hidden = explanation.sentences.length < 2;
    const characters = Array.from(text);
    $("sentences").replaceChildren(...explanation.sentences.map((sentence) => element(
      "li", {}, element("b", {}, `${sentence.label} ${percent(sentence.score)}`), characters.slice(sentence.start, sentence.end).join(""),
    )));
    const { curve } = explanation;
    $("curve-figure").hidden = !curve.length;
    if (!curve.length) return;
    drawCurve($("curve"), curve);
    $("curve-title").textContent = `How sure it was of “${label}” after each word`;
    const [first, last] = [curve[0].score, curve.at(-1).score];
    const [low, high] = [Math.min(...curve.map((point) => point.score)), Math.max(...curve.map((point) => point.score))];
    $("curve-text").textContent =
      `From ${percent(first)} after the first word to ${percent(last)} after the last; lowest ${percent(low)}, highest ${percent(high)}.`;
  }
}
