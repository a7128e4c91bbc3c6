// What a text speaks of, each thing with the label of what is said about it; whatever rules find, or what somebody names.

import { element, hueOf, percent } from "./draw.js";
import { inWords, pause } from "./service.js";

const LOOK_AFTER = 600;

export class Aspects {
  /** field: where somebody may name aspects; list: gets those of the text; said: tells what there is to tell;
   * ask: gives the text and its aspects, when told what to look for and by what signal nobody wants them any more.
   */
  constructor(field, list, said, ask) {
    Object.assign(this, { field, list, said, ask, looking: new AbortController() });
    field.addEventListener("input", () => this.look(LOOK_AFTER));
  }

  /** What to look for, however it is capitalised once; nothing: whatever the text speaks of. */
  get wanted() {
    const names = this.field.value.split(",").map((name) => name.trim()).filter(Boolean);
    return [...new Map(names.map((name) => [name.toLowerCase(), name])).values()];
  }

  clear() {
    this.looking.abort();
    this.list.replaceChildren();
    this.said.textContent = "";
  }

  /** Asks for what is wanted, when the typing rests. */
  async look(wait) {
    this.looking.abort();
    this.looking = new AbortController();
    const { signal } = this.looking;
    try {
      await pause(wait, signal);
      const [text, aspects] = await this.ask(this.wanted, signal);
      signal.throwIfAborted();
      this.show(text, aspects);
    } catch (error) {
      if (signal.aborted) return;
      this.list.replaceChildren();
      this.said.textContent = inWords(error).message;
    }
  }

  show(text, aspects) {
    const characters = Array.from(text);
    this.list.replaceChildren(...aspects.map((aspect) => rowOf(characters, aspect)));
    const missing = this.wanted.filter((name) => !aspects.some(({ aspect }) => aspect === name));
    this.said.textContent = missing.length ? `Not mentioned: ${missing.join(", ")}.`
      : aspects.length ? "" : "The rules find nothing here. Name what to look for, if you like.";
  }
}

/** An aspect with its label, and the words that this rests on. */
function rowOf(characters, { aspect, label, score, mentions }) {
  const quotes = new Map();
  // What a text says several times is quoted once.
  for (const named of Map.groupBy(mentions, ({ said }) => `${said.start}-${said.end}`).values()) {
    const said = quote(characters, named[0].said, named);
    quotes.set(said.textContent, said);
  }
  return element(
    "li", { className: "sentence" },
    element("span", { className: `tag ${hueOf(label)}` }, label, " ", element("span", {}, percent(score))),
    element("span", {}, element("strong", {}, aspect), ...[...quotes.values()].flatMap((said) => [" ", said])),
  );
}

/** A part of a text in quotation marks, with what it names set off. Places count code points. */
function quote(characters, { start, end }, named) {
  const piece = (from, to) => characters.slice(from, to).join("");
  const parts = [];
  let at = start;
  for (const name of named) {
    parts.push(piece(at, name.start), element("span", { className: "named" }, piece(name.start, name.end)));
    at = name.end;
  }
  return element("span", {}, "“", ...parts, piece(at, end), "”");
}
