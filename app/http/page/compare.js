// Two texts, or two models of one text, side by side, and in words how their answers differ.

import { Review } from "./review.js";
import { copy, linkTo } from "./share.js";
import { inOneSentence } from "./verdict.js";

/** Stars that are no difference to speak of. */
const SAME_STARS = 0.5;
const READ_AFTER = 120;
const SIDES = ["a", "b"];
const LABELS = ["First text", "Second text"];

const $ = (id) => document.getElementById(id);
const modelOf = (side) => $(`${side}-model`);

export class Comparison {
  constructor(keyForm, models) {
    Object.assign(this, { models, answers: [null, null], ofModels: false, second: "" });
    this.sides = SIDES.map((side, index) => {
      const review = new Review($(`compare-${side}`), LABELS[index], keyForm, () => (this.ofModels ? modelOf(side).value : models.chosen), `${side}-`);
      review.part("text").before(modelOf(side).parentElement);
      modelOf(side).addEventListener("change", () => review.changed(0));
      review.addEventListener("change", () => this.take(index, null));
      review.addEventListener("answer", ({ detail }) => this.take(index, detail));
      return review;
    });
    $("compare-text").addEventListener("input", () => this.sides.forEach((side) => side.show($("compare-text").value, READ_AFTER)));
    $("compare-what").addEventListener("change", ({ target }) => this.compareModels(target.value === "models"));
    $("copy-comparison").addEventListener("click", () => copy(this.link(), $("comparison-link"), $("comparison-said")));
    models.addEventListener("list", () => this.offer());
    models.addEventListener("choice", () => !this.ofModels && this.sides.forEach((side) => side.changed(0)));
  }

  /** Where several models are loaded, two of them can be compared. */
  offer() {
    $("compare-what").hidden = !this.models.several;
    const before = SIDES.map((side) => modelOf(side).value);
    const wanted = this.wanted ?? (before[0] ? before : [this.models.served]);
    SIDES.forEach((side, index) => {
      this.models.offer(modelOf(side));
      if (this.models.knows(wanted[index])) modelOf(side).value = wanted[index];
      else modelOf(side).selectedIndex = index;
    });
    if (this.wanted && this.models.several) this.compareModels(true);
    this.wanted = null;
  }

  compareModels(wanted) {
    if (wanted === this.ofModels) return;
    const [first, second] = this.sides;
    if (wanted) this.second = second.text;
    this.ofModels = wanted;
    $("compare-what").querySelector(`[value=${wanted ? "models" : "texts"}]`).checked = true;
    $("one-text").hidden = !wanted;
    $("compare-text").value = first.text;
    for (const side of this.sides) {
      side.part("text").hidden = side.part("text").labels[0].hidden = wanted;
      modelOf(SIDES[this.sides.indexOf(side)]).parentElement.hidden = !wanted;
    }
    first.changed(0);
    second.show(wanted ? first.text : this.second);
  }

  link() {
    const [text, other] = this.sides.map((side) => side.text);
    const [model, against] = SIDES.map((side) => modelOf(side).value);
    return linkTo(this.ofModels ? { text, model, against } : { text, other, model: this.models.name });
  }

  take(index, answer) {
    this.answers[index] = answer;
    const both = this.answers.every((one) => one);
    $("comparison-link").hidden = true;
    $("comparison-said").textContent = "";
    $("copy-comparison").hidden = !both;
    const names = this.ofModels ? SIDES.map((side) => modelOf(side).value) : ["First", "Second"];
    $("difference").textContent = both ? difference(names, ...this.answers) : "";
  }

  /** Both texts, or one text for two models. */
  show({ text, other, model, against }) {
    if (other) {
      this.compareModels(false);
      [text, other].forEach((one, index) => this.sides[index].show(one));
      return;
    }
    this.sides.forEach((side) => side.show(text));
    this.wanted = [model, against];
    if (this.models.loaded.length) this.offer();
    $("compare-text").value = text;
  }

  /** The text that somebody was reading, where there is none yet. */
  begin(text) {
    if (!text || this.sides.some((side) => side.text)) return;
    this.sides[0].show(text);
    if (this.ofModels) this.sides[1].show($("compare-text").value = text);
  }
}

/** What two answers have in common, in a sentence or two. */
function difference(names, one, other) {
  const [first, second] = [inOneSentence(one), inOneSentence(other)];
  const said = first === second ? `Both: ${first}.` : `${names[0]}: ${first}. ${names[1]}: ${second}.`;
  const trusted = [one, other].every(({ judgement = "ok", rating }) => judgement === "ok" && typeof rating === "number");
  if (!trusted) return said;
  const stars = other.rating - one.rating;
  if (Math.abs(stars) < SAME_STARS) return `${said} In stars they are about the same.`;
  const more = names[stars > 0 ? 1 : 0];
  return `${said} ${/^\w+$/.test(more) ? `The ${more.toLowerCase()}` : more} gets ${Math.abs(stars).toFixed(1)} more of 10 stars.`;
}
