// A file of reviews: chosen, scored while it streams back, downloaded.

import { FileLayout } from "./layout.js";
import { Results, count, rowsOf } from "./results.js";
import { ServiceError, ask } from "./service.js";
import { linesOf } from "./table.js";
import { element } from "./draw.js";

const TYPES = { csv: "text/csv", tsv: "text/tab-separated-values", jsonl: "application/x-ndjson", json: "application/json", lines: "text/plain", parquet: "application/vnd.apache.parquet", xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" };

const $ = (id) => document.getElementById(id);

export class FileScorer {
  /** notice: where errors are said; tabs: the page's, of which the file's is shown when one is dropped; models: of which
   * one scores; report: on what was scored.
   */
  constructor(notice, tabs, models, report) {
    Object.assign(this, { notice, tabs, models, running: null, layout: new FileLayout(notice), report });
    $("file").addEventListener("change", () => this.choose($("file").files[0]));
    $("file-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.score();
    });
    $("stop").addEventListener("click", () => this.running?.abort());
    $("download-csv").addEventListener("click", () => this.download("csv"));
    $("download-jsonl").addEventListener("click", () => this.download("jsonl"));
    $("download-html").addEventListener("click", () => this.save(new Blob([report.page], { type: "text/html" }), "report.html"));
    this.acceptDrops();
  }

  /** A file may be dropped anywhere on the page. */
  acceptDrops() {
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
      document.addEventListener(kind, (event) => {
        if (!event.dataTransfer?.types.includes("Files")) return;
        event.preventDefault();
        $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
        if (kind === "dragenter") this.tabs.show("tab-file");
        if (kind === "drop" && event.dataTransfer.files.length) this.choose(event.dataTransfer.files[0]);
      });
    }
  }

  async choose(file) {
    if (!file || this.running) return;
    this.notice.clear();
    this.report.clear();
    this.file = file;
    $("file-result").hidden = $("file-progress").hidden = $("file-options").hidden = true;
    const known = await this.layout.choose(file).catch(() => null);
    if (file !== this.file) return;
    if (known === null) this.notice.show(unreadable(file));
    if (known === false) {
      this.notice.show(new ServiceError(`“${file.name}” is not a file this page can score. Choose CSV, TSV, Excel (.xlsx), JSON, JSONL, Parquet or lines of text.`));
    }
    if (!known) return;
    $("start").textContent = `Score ${file.name}`;
    $("file-options").hidden = false;
    if ($("key-form").hidden) $("start").focus();
  }

  async score() {
    this.running = new AbortController();
    this.begin();
    try {
      const { fields } = this.layout;
      const { chosen } = this.models;
      const response = await ask(`files?${new URLSearchParams({ ...fields, output: "jsonl", ...(chosen && { model: chosen }) })}`, {
        method: "POST", body: this.file, headers: { "Content-Type": TYPES[fields.format] }, signal: this.running.signal,
      });
      this.notice.clear();
      await this.receive(response);
      this.end("");
      if (this.results.rows) this.offerReport(response.headers);
    } catch (error) {
      if (error.name === "AbortError") this.end("Stopped");
      else await this.fail(error);
    } finally {
      this.running = null;
      $("start").disabled = $("file").disabled = false;
      $("stop").hidden = true;
    }
  }

  offerReport(headers) {
    const textColumn = decodeURIComponent(headers.get("X-Text-Column"));
    const columns = this.results.ownColumns().filter((name) => name !== textColumn);
    this.report.offer((content, ending) => this.save(content, ending), this.results.jsonl(), columns, { textColumn, model: headers.get("X-Model"), name: this.file.name });
  }

  begin() {
    this.results = null;
    this.report.clear();
    this.started = performance.now();
    $("start").disabled = $("file").disabled = true;
    $("stop").hidden = $("file-progress").hidden = false;
    $("file-result").hidden = $("downloads").hidden = true;
    $("progress").removeAttribute("value");
    $("progress-text").textContent = "Sending the file …";
    $("file-summary").textContent = "";
  }

  async receive(response) {
    const total = Number(response.headers.get("X-Rows"));
    this.results = new Results(response.headers.get("X-Result-Columns").split(","), total);
    this.started = performance.now();
    for await (const lines of linesOf(response)) {
      for (const line of lines) this.results.take(line);
      this.showProgress();
    }
    if (this.results.rows < total) throw new Error("incomplete");
  }

  showProgress() {
    const { rows, total } = this.results;
    const rate = rows / Math.max((performance.now() - this.started) / 1000, 0.001);
    const left = Math.ceil((total - rows) / Math.max(rate, 1));
    $("progress").max = total;
    $("progress").value = rows;
    $("progress-text").textContent =
      `${count(rows)} of ${rowsOf(total)} · ${count(Math.round(rate))} a second${left ? ` · ${left} s left` : ""}`;
    $("file-result").hidden = false;
    this.results.show();
  }

  async fail(error) {
    const refused = error instanceof ServiceError;
    // A file that was changed or taken away since it was chosen cannot be sent, which looks like a service that is gone.
    const readable = await this.file.slice(0, 1).arrayBuffer().then(() => true, () => false);
    this.notice.show(!readable ? unreadable(this.file) : refused ? error : new ServiceError(
      "The file was broken off: the service went away or gave up."), () => this.score());
    this.end(refused ? "" : "Broken off");
  }

  /** Shows what there is in the end; how says in a word why it is not all, where it is not. */
  end(how) {
    const { results } = this;
    const rows = results?.rows ?? 0;
    $("file-progress").hidden = !rows;
    $("downloads").hidden = !rows;
    $("file-shares").hidden = $("rows").hidden = !rows;
    $("file-result").hidden = !results && !how;
    const said = rows ? results.summary() : [];
    if (how) said.unshift(results ? `${how} after ${count(rows)} of ${rowsOf(results.total)}.` : `${how} before the first row.`);
    else if (results && !rows) said.push(["csv", "tsv"].includes(this.layout.format) ? "0 rows: there is only a header." : "0 rows: the file has none.");
    $("file-summary").textContent = said.join(" ");
  }

  download(kind) {
    this.save(this.results[kind](), `scored.${kind}`);
  }

  /** Saves something as a file that is called after the one it was made of. */
  save(content, ending) {
    const link = element("a", { href: URL.createObjectURL(content), download: `${this.file.name.replace(/\.[^.]*$/, "")}.${ending}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}

function unreadable(file) {
  return new ServiceError(`“${file.name}” cannot be read, or was changed since it was chosen. Choose it again.`);
}
