// Errors, each where it belongs.

import { inWords } from "./service.js";

const MOST_TRIES = 20;

/** One place for errors. Tries again by itself where the service says when, a bounded number of times.
 *
 * place: the element that shows them.
 * keyForm: asks for a key.
 * above: whether it stands right above that form, which says of keys all there is to say.
 */
export class Notice {
  constructor(place, keyForm, { above = false } = {}) {
    Object.assign(this, { place, keyForm, above, tries: 0 });
  }

  show(failure, again) {
    const error = inWords(failure);
    clearTimeout(this.timer);
    // The same words again would be read aloud again.
    if (this.place.hidden || this.place.textContent !== error.message) this.place.textContent = error.message;
    this.place.hidden = this.above && error.needsKey;
    if (error.needsKey) this.keyForm.ask(this, again, error.message);
    else if (error.retryAfter && again && this.tries++ < MOST_TRIES) this.timer = setTimeout(again, 1000 * error.retryAfter);
  }

  clear() {
    clearTimeout(this.timer);
    this.tries = 0;
    this.place.hidden = true;
  }
}
