// The report on a scored file: made by the service, shown in the page, saved as one file.

import { ask, inWords } from "./service.js";
import { element } from "./draw.js";

const $ = (id) => document.getElementById(id);

export class Report {
  /** notice: where errors are said. */
  constructor(notice) {
    this.notice = notice;
    this.making = new AbortController();
    // A tree of its own, so that the report's styles and names are not the page's.
    this.root = $("report").attachShadow({ mode: "open" });
    $("download-xlsx").addEventListener("click", () => this.saveWorkbook());
    for (const id of ["group-by", "time-column"]) $(id).addEventListener("change", () => this.make());
  }

  /** Nothing of an earlier file is left. */
  clear() {
    this.making.abort();
    this.notice.clear();
    this.page = "";
    this.root.replaceChildren();
    $("report-part").hidden = true;
    $("report-said").textContent = "";
    $("download-html").hidden = $("download-xlsx").hidden = true;
  }

  /** Offers a report on rows that are all there.
   *
   * save: called with something to save and the end of its name; rows: as JSON lines; columns: that rows may be compared by; textColumn, model, name: of the file.
   */
  offer(save, rows, columns, { textColumn, model, name }) {
    Object.assign(this, { save, rows, textColumn, model, name });
    const choices = (first) => [element("option", { value: "" }, first), ...columns.map((column) => element("option", { value: column }, column))];
    $("group-by").replaceChildren(...choices("nothing"));
    $("time-column").replaceChildren(...choices("found by its name"));
    $("report-part").hidden = false;
    return this.make();
  }

  async make() {
    this.making.abort();
    const { signal } = this.making = new AbortController();
    this.notice.clear();
    this.page = "";
    this.root.replaceChildren();
    $("download-html").hidden = $("download-xlsx").hidden = true;
    $("report-said").textContent = "Making the report …";
    try {
      const page = await (await this.ask("html", signal)).text();
      if (!signal.aborted) this.show(page);
    } catch (error) {
      if (!signal.aborted) this.notice.show(inWords(error), () => this.make());
    } finally {
      if (!signal.aborted) $("report-said").textContent = "";
    }
  }

  ask(output, signal) {
    const [group, time] = [$("group-by").value, $("time-column").value];
    const query = new URLSearchParams({
      format: "jsonl", output, text_column: this.textColumn, scored_by: this.model, name: this.name,
      ...(group && { group_by: group }), ...(time && { time_column: time }),
    });
    return ask(`files?${query}`, { method: "POST", body: this.rows, headers: { "Content-Type": "application/x-ndjson" }, signal });
  }

  /** The rows and the report's tables, made by the service when somebody wants them. */
  async saveWorkbook() {
    const { signal } = this.making;
    this.notice.clear();
    $("download-xlsx").disabled = true;
    $("report-said").textContent = "Making the workbook …";
    try {
      const book = await (await this.ask("report-xlsx", signal)).blob();
      if (!signal.aborted) this.save(book, "scored.xlsx");
    } catch (error) {
      if (!signal.aborted) this.notice.show(inWords(error), () => this.saveWorkbook());
    } finally {
      $("download-xlsx").disabled = false;
      if (!signal.aborted) $("report-said").textContent = "";
    }
  }

  /** Takes the parts of the report over; there is no script in them, and the policy would not let it run. */
  show(page) {
    // Its style is in a file of this page, as the policy wants it.
    const made = new DOMParser().parseFromString(page.replace(/<(style)>[^<]*<\/\1>/, ""), "text/html");
    const style = element("link", { rel: "stylesheet", href: "page/report.css" });
    this.root.replaceChildren(style, ...made.querySelectorAll("svg.patterns, main > section"));
    this.page = page;
    $("download-html").hidden = $("download-xlsx").hidden = false;
  }
}
