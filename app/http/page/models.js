// Which model answers: the one that is served, unless somebody chooses another of those that are loaded.

import { askJson } from "./service.js";
import { element } from "./draw.js";

const $ = (id) => document.getElementById(id);
const nameOf = ({ model, version }) => `${model}/${version}`;
const figureOf = ({ test_accuracy: accuracy }) => (accuracy ? `, ${(100 * accuracy).toFixed(1)} % right on its test` : "");

/** The models that answer here, and whether they want to be told better (`feedback`). It fires "list" when it knows them, and "choice" when another one is to answer. */
export class Models extends EventTarget {
  /** notice: where errors are said. */
  constructor(notice) {
    super();
    Object.assign(this, { notice, loaded: [], chosen: "", feedback: false });
    $("model").addEventListener("change", () => this.choose($("model").value));
  }

  /** Whether there is something to choose. */
  get several() {
    return this.loaded.length > 1;
  }

  /** What links and history call the model; "" where there is only one. */
  get name() {
    return this.several ? this.chosen || this.served : "";
  }

  get served() {
    const found = this.loaded.find(({ served }) => served);
    return found ? nameOf(found) : "";
  }

  async load() {
    try {
      const { models, feedback } = await askJson("models", null, null, { "X-Page": "1" });
      this.notice.clear();
      this.feedback = feedback;
      this.loaded = models.filter(({ served, loaded }) => served || loaded).sort((one, other) => other.served - one.served);
    } catch (error) {
      this.notice.show(error, () => this.load());
      return;
    }
    const wanted = this.chosen;
    this.offer($("model"));
    $("model-choice").hidden = !this.several;
    if (wanted && !this.knows(wanted)) {
      $("model-said").textContent = `${wanted}, which this was made with, is not loaded here; ${this.served} answers.`;
    }
    this.dispatchEvent(new Event("list"));
    this.choose(wanted);
  }

  knows(name) {
    return this.loaded.some((one) => nameOf(one) === name);
  }

  /** Fills a list with what is loaded. */
  offer(select) {
    select.replaceChildren(...this.loaded.map((one) => element("option", { value: nameOf(one) }, nameOf(one), one.served ? " (served)" : "")));
  }

  /** Has a model answer; "", or one that is known not to be loaded, is the one that is served. */
  choose(name) {
    const before = this.chosen;
    const known = !this.loaded.length || this.knows(name);
    this.chosen = known && !(this.loaded.length && name === this.served) ? name : "";
    if (this.loaded.length) {
      const now = this.chosen || this.served;
      $("model").value = now;
      $("model-now").textContent = `Model ${now}${figureOf(this.loaded.find((one) => nameOf(one) === now))}.`;
    }
    if (this.chosen !== before) this.dispatchEvent(new Event("choice"));
  }
}
