// Errors, each where it belongs, and the API key that some of them ask for.

import { inWords, useKey } from "./service.js";

const MOST_TRIES = 20;
const KEY = /^[!-~]+$/;

const $ = (id) => document.getElementById(id);

/** One place for errors. Tries again by itself where the service says when, a bounded number of times.
 *
 * place: the element that shows them.
 * keyForm: asks for a key.
 */
export class Notice {
  constructor(place, keyForm) {
    Object.assign(this, { place, keyForm, tries: 0 });
  }

  show(failure, again) {
    const error = inWords(failure);
    clearTimeout(this.timer);
    // The same words again would be read aloud again.
    if (this.place.hidden || this.place.textContent !== error.message) this.place.textContent = error.message;
    this.place.hidden = false;
    if (error.needsKey) this.keyForm.ask(this, again);
    else if (error.retryAfter && again && this.tries++ < MOST_TRIES) this.timer = setTimeout(again, 1000 * error.retryAfter);
  }

  clear() {
    clearTimeout(this.timer);
    this.tries = 0;
    this.place.hidden = true;
  }
}

/** Asks for an API key once, on behalf of everybody who was refused. */
export class KeyForm {
  constructor() {
    this.waiting = new Map();
    $("key").addEventListener("input", () => $("key").setCustomValidity(""));
    $("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.take($("key").value.trim());
    });
  }

  ask(notice, again) {
    this.waiting.set(notice, again);
    $("key-form").hidden = false;
    $("key").focus();
  }

  take(key) {
    if (!KEY.test(key)) {
      $("key").setCustomValidity("An API key has no spaces, and only letters, digits and signs of ASCII.");
      $("key").reportValidity();
      return;
    }
    useKey(key);
    $("key-form").hidden = true;
    const waiting = [...this.waiting];
    this.waiting.clear();
    for (const [notice, again] of waiting) {
      notice.clear();
      again?.();
    }
  }
}
