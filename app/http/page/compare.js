// Two texts side by side, and in words how their answers differ.

import { Review } from "./review.js";
import { copy, linkTo } from "./share.js";
import { inOneSentence } from "./verdict.js";

/** Stars that are no difference to speak of. */
const SAME_STARS = 0.5;

const $ = (id) => document.getElementById(id);

export class Comparison {
  constructor(keyForm) {
    this.sides = [
      new Review($("compare-a"), "First text", keyForm, "a-"),
      new Review($("compare-b"), "Second text", keyForm, "b-"),
    ];
    this.answers = [null, null];
    this.sides.forEach((side, index) => {
      side.addEventListener("change", () => this.take(index, null));
      side.addEventListener("answer", ({ detail }) => this.take(index, detail));
    });
    $("copy-comparison").addEventListener("click", () => copy(linkTo(this.sides.map(({ text }) => text)), $("comparison-link"), $("comparison-said")));
  }

  take(index, answer) {
    this.answers[index] = answer;
    const both = this.answers.every((one) => one);
    $("comparison-link").hidden = true;
    $("comparison-said").textContent = "";
    $("copy-comparison").hidden = !both;
    $("difference").textContent = both ? difference(...this.answers) : "";
  }

  /** Both texts at once. */
  show(texts) {
    texts.forEach((text, index) => this.sides[index].show(text));
  }

  /** The text that somebody was reading, where there is none yet. */
  begin(text) {
    if (text && this.sides.every((side) => !side.text)) this.sides[0].show(text);
  }
}

/** What two answers have in common, in a sentence or two. */
function difference(one, other) {
  const [first, second] = [inOneSentence(one), inOneSentence(other)];
  const said = first === second ? `Both: ${first}.` : `First: ${first}. Second: ${second}.`;
  const trusted = [one, other].every(({ judgement = "ok", rating }) => judgement === "ok" && typeof rating === "number");
  if (!trusted) return said;
  const stars = other.rating - one.rating;
  if (Math.abs(stars) < SAME_STARS) return `${said} In stars they are about the same.`;
  return `${said} ${stars > 0 ? "The second" : "The first"} gets ${Math.abs(stars).toFixed(1)} more of 10 stars.`;
}
