// A file of reviews: chosen, scored while it streams back, shown, downloaded.

import { ServiceError, ask } from "./service.js";
import { columnsOf, csvLine, formatOf, linesOf } from "./table.js";
import { drawShares, element, hueOf, percent } from "./draw.js";

const SHOWN_ROWS = 100;
const TYPES = { csv: "text/csv", tsv: "text/tab-separated-values", jsonl: "application/x-ndjson", json: "application/json", lines: "text/plain", parquet: "application/vnd.apache.parquet", xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" };

const $ = (id) => document.getElementById(id);

export class FileScorer {
  constructor(notice) {
    this.notice = notice;
    this.running = null;
    $("file").addEventListener("change", () => this.choose($("file").files[0]));
    $("file-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.score();
    });
    $("stop").addEventListener("click", () => this.running?.abort());
    $("download-csv").addEventListener("click", () => this.download("csv"));
    $("download-jsonl").addEventListener("click", () => this.download("jsonl"));
    this.acceptDrops($("drop"));
  }

  acceptDrops(zone) {
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
      zone.addEventListener(kind, (event) => {
        event.preventDefault();
        zone.classList.toggle("over", kind === "dragenter" || kind === "dragover");
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
    const { columns, likely } = await columnsOf(file, this.format);
    if (file !== this.file) return;
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
    this.notice.clear();
    this.begin();
    try {
      const column = $("column").hidden ? $("column-name").value.trim() : $("column").value;
      const query = new URLSearchParams({ format: this.format, output: "jsonl", ...(column && { text_column: column }) });
      const response = await ask(`files?${query}`, {
        method: "POST", body: this.file, headers: { "Content-Type": TYPES[this.format] }, signal: this.running.signal,
      });
      await this.receive(response);
    } catch (error) {
      if (error.name === "AbortError") this.summary.unshift("Stopped.");
      else this.notice.show(error instanceof ServiceError ? error : new ServiceError(
        "The file was broken off: the service went away or gave up. What had arrived is below."), () => this.score());
    } finally {
      this.running = null;
      this.end();
    }
  }

  begin() {
    Object.assign(this, { rows: 0, total: 0, counts: new Map(), errors: 0, parts: [], names: [], summary: [], started: performance.now() });
    $("start").disabled = true;
    $("stop").hidden = $("file-progress").hidden = false;
    $("file-result").hidden = $("downloads").hidden = true;
    $("progress").removeAttribute("value");
    $("progress-text").textContent = "Sending the file …";
    $("file-result").querySelector("thead").replaceChildren();
    $("file-result").querySelector("tbody").replaceChildren();
  }

  async receive(response) {
    this.total = Number(response.headers.get("X-Rows"));
    this.names = response.headers.get("X-Result-Columns").split(",");
    this.started = performance.now();
    for await (const lines of linesOf(response)) {
      for (const line of lines) this.take(line);
      this.showProgress();
    }
    if (this.total && this.rows < this.total) throw new Error("incomplete");
  }

  take(line) {
    const row = JSON.parse(line);
    const label = row[this.names[0]];
    if (this.rows === 0) {
      this.columns = Object.keys(row);
      this.showHead();
    }
    if (this.rows < SHOWN_ROWS) this.showRow(row);
    if (label === null) this.errors++;
    else this.counts.set(label, (this.counts.get(label) ?? 0) + 1);
    this.parts.push(line);
    this.rows++;
  }

  showProgress() {
    const seconds = (performance.now() - this.started) / 1000;
    const rate = this.rows / Math.max(seconds, 0.001);
    const left = this.total ? Math.ceil((this.total - this.rows) / Math.max(rate, 1)) : 0;
    if (this.total) {
      $("progress").max = this.total;
      $("progress").value = this.rows;
    }
    const of = this.total ? ` of ${this.total.toLocaleString("en")}` : "";
    $("progress-text").textContent =
      `${this.rows.toLocaleString("en")}${of} rows · ${Math.round(rate).toLocaleString("en")} a second${left ? ` · ${left} s left` : ""}`;
    $("file-result").hidden = false;
    this.showShares();
  }

  showShares() {
    const parts = [...this.counts].sort().map(([label, count]) => ({ label, share: count / this.rows }));
    if (this.errors) parts.push({ label: "not classified", share: this.errors / this.rows, hue: "none" });
    drawShares($("file-shares"), parts);
    this.words = parts.map(({ label, share }) => `${label} ${percent(share)}`).join(", ");
  }

  showHead() {
    const cells = this.columns.map((name) => element("th", { scope: "col" }, name));
    $("file-result").querySelector("thead").replaceChildren(element("tr", {}, ...cells));
  }

  showRow(row) {
    const cells = this.columns.map((name) => {
      const value = row[name];
      const shown = typeof value === "number" && !Number.isInteger(value) ? value.toFixed(4)
        : value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
      const cell = element("td", {}, shown.length > 200 ? `${shown.slice(0, 200)} …` : shown);
      if (typeof value === "number") cell.className = "number";
      return cell;
    });
    $("file-result").querySelector("tbody").append(element("tr", {}, ...cells));
  }

  end() {
    $("start").disabled = false;
    $("stop").hidden = true;
    const done = this.rows > 0;
    $("file-result").hidden = $("downloads").hidden = !done;
    $("file-progress").hidden = !done;
    if (!done) return;
    const errors = this.errors ? ` ${this.errors.toLocaleString("en")} rows could not be classified; their error column says why.` : "";
    $("file-summary").textContent = [...this.summary, `${this.rows.toLocaleString("en")} rows: ${this.words}.${errors}`].join(" ");
    const first = Math.min(SHOWN_ROWS, this.rows);
    $("table-title").textContent = first < this.rows ? `The first ${first} of ${this.rows.toLocaleString("en")} rows` : "All rows";
  }

  download(kind) {
    const parts = kind === "jsonl" ? this.parts.map((line) => `${line}\n`)
      : [csvLine(this.columns), ...this.parts.map((line) => {
        const row = JSON.parse(line);
        return csvLine(this.columns.map((name) => row[name]));
      })];
    const type = kind === "jsonl" ? "application/x-ndjson" : "text/csv;charset=utf-8";
    const link = element("a", {
      href: URL.createObjectURL(new Blob(parts, { type })), download: this.file.name.replace(/\.[^.]*$/, "") + `.scored.${kind}`,
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }
}
