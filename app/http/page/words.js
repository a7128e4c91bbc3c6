// The words of a text with what each did, one sentence a row: coloured, underlined, and reached by keyboard and touch.

import { element, hueOf, percent } from "./draw.js";

/** Parts of the strongest word's weight, and what is said of words from there on; below the last, "hardly". */
const STRENGTHS = [[0.6, "strongly"], [0.25, "clearly"], [0.04, "a little"]];
const HINT = "Arrow keys, a tap or the mouse on a word tell its weight.";

export class Words {
  /** place: a listbox, whose options the words become; detail: where the weight of a word is told. */
  constructor(place, detail) {
    Object.assign(this, { place, detail, options: [] });
    place.addEventListener("keydown", (event) => this.onKey(event));
    for (const kind of ["pointerover", "click"]) {
      place.addEventListener(kind, ({ target }) => {
        if (target.classList.contains("word")) this.choose(target, false);
      });
    }
    place.addEventListener("focus", () => {
      if (!this.current && this.options.length) this.choose(this.options[0]);
    });
  }

  clear() {
    this.options = [];
    this.current = null;
    this.place.removeAttribute("aria-activedescendant");
    this.place.replaceChildren();
    this.detail.textContent = "";
  }

  /** Shows a text with its explanation; `other` is what a word speaks for that speaks against the label. */
  show(text, label, other, { tokens = [], sentences = [] }) {
    this.clear();
    this.characters = Array.from(text);
    this.strongest = Math.max(1e-9, ...tokens.map(({ attribution }) => Math.abs(attribution)));
    Object.assign(this, { label, other });
    let at = 0;
    const rows = (sentences.length ? sentences : [null]).map((sentence, index) => {
      const to = sentence && index < sentences.length - 1 ? sentence.end : this.characters.length;
      const row = this.row(sentence, index, tokens, at, to);
      at = to;
      return row;
    });
    this.place.replaceChildren(...rows);
    this.detail.textContent = HINT;
  }

  /** What stands between two places, which count code points as the service's do, with the label of its sentence. */
  row(sentence, index, tokens, from, to) {
    const said = element("span", { className: "said" }, ...this.within(tokens, from, to));
    if (!sentence) return element("div", { className: "sentence" }, said);
    const score = percent(sentence.score);
    const row = element("div", { className: "sentence" }, element(
      "span", { className: `tag ${hueOf(sentence.label)}` }, sentence.label, " ", element("span", {}, score),
    ), said);
    row.setAttribute("role", "group");
    row.setAttribute("aria-label", `Sentence ${index + 1}, by itself ${sentence.label} ${score}`);
    row.firstChild.setAttribute("aria-hidden", "true");
    return row;
  }

  within(tokens, from, to) {
    const piece = (start, end) => this.characters.slice(start, end).join("");
    const parts = [];
    let at = from;
    for (const token of tokens) {
      if (token.start < at || token.end > to) continue;
      parts.push(piece(at, token.start), this.option(piece(token.start, token.end), token.attribution));
      at = token.end;
    }
    parts.push(piece(at, to));
    // Between sentences stand spaces and line ends, which their rows make needless.
    parts[0] = parts[0].trimStart();
    parts.push(parts.pop().trimEnd());
    return parts;
  }

  option(word, attribution) {
    const share = Math.abs(attribution) / this.strongest;
    const strength = STRENGTHS.find(([least]) => share >= least)?.[1];
    const side = attribution > 0 ? "for" : "against";
    const weight = `${attribution < 0 ? "\u2212" : "+"}${Math.abs(attribution).toFixed(2)}`;
    const told = `speaks ${strength ?? "hardly"} ${side} ${this.label}, weight ${weight}${share === 1 ? ", the strongest of all" : ""}`;
    const made = element("span", { className: strength ? `word ${side} ${hueOf(attribution > 0 ? this.label : this.other)}` : "word", id: `${this.place.id}-${this.options.length}` }, word);
    made.setAttribute("role", "option");
    made.setAttribute("aria-selected", "false");
    made.setAttribute("aria-label", `${word}: ${told}`);
    made.style.setProperty("--strength", share.toFixed(3));
    made.told = `“${word}” ${told}.`;
    this.options.push(made);
    return made;
  }

  choose(option, scrolls = true) {
    this.current?.setAttribute("aria-selected", "false");
    this.current = option;
    option.setAttribute("aria-selected", "true");
    this.place.setAttribute("aria-activedescendant", option.id);
    this.detail.textContent = option.told;
    if (scrolls) option.scrollIntoView({ block: "nearest" });
  }

  onKey(event) {
    const at = this.options.indexOf(this.current);
    const rowOf = (option) => option.closest(".sentence");
    const last = this.options.length - 1;
    const to = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      ArrowDown: this.options.findIndex((option, index) => index > at && rowOf(option) !== rowOf(this.current)),
      ArrowUp: this.options.findIndex((option) => rowOf(option) === rowOf(this.options.findLast((one, index) => index < at && rowOf(one) !== rowOf(this.current)) ?? this.options[0])),
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined || !this.current || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (to >= 0 && to <= last) this.choose(this.options[to]);
  }
}
