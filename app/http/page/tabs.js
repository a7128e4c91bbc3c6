// Tabs as the ARIA authoring practices have them: arrow keys go from one to the next.

export class Tabs {
  /** shown: called with the id of a tab whose panel is shown. */
  constructor(list, shown) {
    this.shown = shown;
    this.tabs = [...list.querySelectorAll("[role=tab]")];
    for (const tab of this.tabs) tab.addEventListener("click", () => this.show(tab));
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const at = this.tabs.indexOf(document.activeElement) + step;
      const next = this.tabs[(at + this.tabs.length) % this.tabs.length];
      next.focus();
      this.show(next);
    });
  }

  /** Shows a tab's panel; the tab is an element or its id. */
  show(wanted) {
    for (const tab of this.tabs) {
      const chosen = tab === wanted || tab.id === wanted;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !chosen;
      if (chosen) this.shown(tab.id);
    }
  }
}
