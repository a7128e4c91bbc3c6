// The form for an API key.

import { hasKey, useKey } from "./service.js";

const KEY = /^[!-~]+$/;

const $ = (id) => document.getElementById(id);

/** Asks for an API key once, on behalf of everybody who was refused, and says what is wrong with the one in use. */
export class KeyForm {
  constructor() {
    this.waiting = new Map();
    this.always = [];
    $("key").addEventListener("input", () => this.complain(""));
    $("key-shown").addEventListener("change", ({ target }) => { $("key").type = target.checked ? "text" : "password"; });
    $("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.take($("key").value.trim());
    });
    $("key-forget").addEventListener("click", () => {
      useKey("");
      location.reload();
    });
    $("key-open").addEventListener("click", () => ($("key-form").hidden ? this.open() : this.close()));
    $("key-open").hidden = !hasKey();
  }

  /** What is done again with every other key, whoever was refused; see `ask`. */
  onEvery(notice, again) {
    this.always.push([notice, again]);
  }

  /** Somebody was refused, for a reason; `again` does it again with another key. */
  ask(notice, again, reason) {
    this.waiting.set(notice, again);
    const open = !$("key-form").hidden;
    this.complain(reason);
    $("key-open").hidden = false;
    if (!open) this.open();
  }

  open() {
    this.before = document.activeElement;
    $("key-form").hidden = false;
    $("key-forget").hidden = !hasKey();
    $("key-open").setAttribute("aria-expanded", "true");
    $("key").focus();
    $("key").select();
  }

  close() {
    $("key-form").hidden = true;
    $("key-open").setAttribute("aria-expanded", "false");
    this.before?.focus();
  }

  complain(reason) {
    $("key-error").textContent = reason;
    $("key").setAttribute("aria-invalid", String(reason !== ""));
  }

  take(key) {
    if (!KEY.test(key)) {
      this.complain(key ? "An API key has no spaces, and only letters, digits and signs of ASCII." : "Type or paste the API key.");
      $("key").focus();
      return;
    }
    useKey(key);
    this.complain("");
    this.close();
    const waiting = new Map([...this.always, ...this.waiting]);
    this.waiting.clear();
    for (const [notice, again] of waiting) {
      notice.clear();
      again?.();
    }
  }
}
