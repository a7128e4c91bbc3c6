// The last texts, kept in this browser and nowhere else.

import { element } from "./draw.js";
import { inOneSentence } from "./verdict.js";

const NAME = "sentiment.history";
const MOST = 20;
const LONGEST = 2_000;
const SHOWN = 90;

const $ = (id) => document.getElementById(id);

export class History {
  constructor(review, models) {
    Object.assign(this, { review, models });
    this.entries = stored();
    review.addEventListener("rest", ({ detail }) => this.add(review.text, detail));
    $("history-clear").addEventListener("click", () => {
      this.keep([]);
      review.part("text").focus();
    });
    this.show();
  }

  /** The newest is replaced by a text that goes on with it, or is what is left of it: somebody is still typing. */
  add(text, answer) {
    if (text.length > LONGEST) return;
    const [newest] = this.entries;
    const model = this.models.name;
    const sameModel = (entry) => (entry.model ?? "") === model;
    const typing = newest && sameModel(newest) && (text.startsWith(newest.text) || newest.text.startsWith(text));
    const others = this.entries.slice(typing ? 1 : 0).filter((entry) => entry.text !== text || !sameModel(entry));
    this.keep([{ text, said: inOneSentence(answer), ...(model && { model }) }, ...others].slice(0, MOST));
  }

  keep(entries) {
    this.entries = entries;
    try {
      if (entries.length) localStorage.setItem(NAME, JSON.stringify(entries));
      else localStorage.removeItem(NAME);
    } catch {
      // A browser that keeps nothing, or has no room: then they last as long as the page.
    }
    this.show();
  }

  show() {
    $("history").hidden = !this.entries.length;
    $("history-count").textContent = this.entries.length;
    $("history-list").replaceChildren(...this.entries.map(({ text, said, model }) => {
      const short = text.length > SHOWN ? `${text.slice(0, SHOWN).toWellFormed()} …` : text;
      const button = element("button", { type: "button" }, short, " ", element("span", {}, model ? `${said} · ${model}` : said));
      button.addEventListener("click", () => {
        this.models.choose(model ?? "");
        this.review.show(text);
      });
      return element("li", {}, button);
    }));
  }
}

/** What an earlier visit left, as far as it is what this page writes. */
function stored() {
  try {
    const entries = JSON.parse(localStorage.getItem(NAME)) ?? [];
    return entries.filter(({ text, said }) => typeof text === "string" && typeof said === "string").slice(0, MOST);
  } catch {
    return [];
  }
}
