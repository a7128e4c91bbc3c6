// A file of reviews: chosen, scored while it streams back, downloaded.

import { Results, count, rowsOf } from "./results.js";
import { ServiceError, ask } from "./service.js";
import { columnsOf, formatOf, linesOf } from "./table.js";
import { element } from "./draw.js";

const TYPES = { csv: "text/csv", tsv: "text/tab-separated-values", jsonl: "application/x-ndjson", json: "application/json", lines: "text/plain", parquet: "application/vnd.apache.parquet", xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" };

const $ = (id) => document.getElementById(id);

export class FileScorer {
  /** notice: where errors are said; tabs: the page's, of which the file's is shown when one is dropped. */
  constructor(notice, tabs) {
    Object.assign(this, { notice, tabs, running: null });
    $("file").addEventListener("change", () => this.choose($("file").files[0]));
    $("file-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.score();
    });
    $("stop").addEventListener("click", () => this.running?.abort());
    $("download-csv").addEventListener("click", () => this.download("csv"));
    $("download-jsonl").addEventListener("click", () => this.download("jsonl"));
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
    this.file = file;
    this.format = formatOf(file);
    $("file-result").hidden = $("file-progress").hidden = $("file-options").hidden = true;
    if (!this.format) {
      this.notice.show(new ServiceError(`“${file.name}” is not a file this page can score. Choose CSV, TSV, Excel (.xlsx), JSON, JSONL, Parquet or lines of text.`));
      return;
    }
    const found = await columnsOf(file, this.format).catch(() => null);
    if (file !== this.file) return;
    if (!found) {
      this.notice.show(unreadable(file));
      return;
    }
    const { columns, likely } = found;
    $("column").hidden = !columns.length;
    $("column-name").hidden = Boolean(columns.length);
    $("column-name").value = "";
    $("column").replaceChildren(...columns.map((name) => element("option", { value: name, selected: name === likely }, name)));
    $("start").textContent = `Score ${file.name}`;
    $("file-options").hidden = false;
    $("start").focus();
  }

  async score() {
    this.running = new AbortController();
    this.begin();
    try {
      const column = $("column").hidden ? $("column-name").value.trim() : $("column").value;
      const query = new URLSearchParams({ format: this.format, output: "jsonl", ...(column && { text_column: column }) });
      const response = await ask(`files?${query}`, {
        method: "POST", body: this.file, headers: { "Content-Type": TYPES[this.format] }, signal: this.running.signal,
      });
      this.notice.clear();
      await this.receive(response);
      this.end("");
    } catch (error) {
      if (error.name === "AbortError") this.end("Stopped");
      else await this.fail(error);
    } finally {
      this.running = null;
      $("start").disabled = $("file").disabled = false;
      $("stop").hidden = true;
    }
  }

  begin() {
    this.results = null;
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
    $("file-shares").hidden = $("table").hidden = !rows;
    $("file-result").hidden = !results && !how;
    const said = rows ? results.summary() : [];
    if (how) said.unshift(results ? `${how} after ${count(rows)} of ${rowsOf(results.total)}.` : `${how} before the first row.`);
    else if (results && !rows) said.push(this.format === "csv" || this.format === "tsv" ? "0 rows: there is only a header." : "0 rows: the file has none.");
    $("file-summary").textContent = said.join(" ");
  }

  download(kind) {
    const link = element("a", {
      href: URL.createObjectURL(this.results[kind]()), download: this.file.name.replace(/\.[^.]*$/, "") + `.scored.${kind}`,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}

function unreadable(file) {
  return new ServiceError(`“${file.name}” cannot be read, or was changed since it was chosen. Choose it again.`);
}
