// The rows of a scored file: counted, shown, turned into downloads.

import { csvLine, parseRow } from "./table.js";
import { drawShares, element, hueOf, percent } from "./draw.js";

const SHOWN_ROWS = 100;

const $ = (id) => document.getElementById(id);

export const count = (number) => number.toLocaleString("en");
export const rowsOf = (number) => `${count(number)} ${number === 1 ? "row" : "rows"}`;

/** The rows that have arrived.
 *
 * names: the columns that the service added, all with one prefix, the label's first.
 * total: how many rows will come.
 */
export class Results {
  constructor(names, total) {
    const prefix = names[0].slice(0, -"label".length);
    Object.assign(this, { names, total, rows: 0, unsure: 0, unreadable: 0, errors: 0, lines: [], shown: [] });
    this.labelColumn = names[0];
    this.judgementColumn = `${prefix}judgement`;
    this.labels = new Map();
    this.columns = new Set();
  }

  take(line) {
    const row = parseRow(line);
    // Rows of JSON lines may have different fields.
    for (const name of Object.keys(row)) this.columns.add(name);
    if (this.rows < SHOWN_ROWS) this.shown.push(row);
    const label = row[this.labelColumn];
    const judgement = row[this.judgementColumn];
    if (label === null) this.errors++;
    else if (judgement === "unreadable") this.unreadable++;
    else this.labels.set(label, (this.labels.get(label) ?? 0) + 1);
    if (judgement === "unsure") this.unsure++;
    this.lines.push(line);
    this.rows++;
  }

  /** The user's columns. */
  ownColumns() {
    return [...this.columns].filter((name) => !this.names.includes(name));
  }

  /** The user's columns, then those of the service. */
  allColumns() {
    return [...this.ownColumns(), ...this.names];
  }

  shares() {
    const parts = [...this.labels].sort().map(([label, number]) => ({ label, share: number / this.rows, hue: hueOf(label) }));
    if (this.unreadable) parts.push({ label: "unreadable", share: this.unreadable / this.rows, hue: "none" });
    if (this.errors) parts.push({ label: "not classified", share: this.errors / this.rows, hue: "none" });
    return parts;
  }

  /** Fills bar and table with what there is so far. */
  show() {
    drawShares($("file-shares"), this.shares());
    if (this.drawn === this.shown.length) return;
    this.drawn = this.shown.length;
    const columns = this.allColumns();
    const head = columns.map((name) => element("th", { scope: "col" }, name));
    $("file-result").querySelector("thead").replaceChildren(element("tr", {}, ...head));
    const rows = this.shown.map((row) => element("tr", {}, ...columns.map((name) => cellOf(row[name]))));
    $("file-result").querySelector("tbody").replaceChildren(...rows);
    $("table-title").textContent = this.total > SHOWN_ROWS ? `The first ${SHOWN_ROWS} of ${rowsOf(this.total)}` : "All rows";
  }

  /** What the rows say, as sentences. */
  summary() {
    const said = [`${rowsOf(this.rows)}: ${this.shares().map(({ label, share }) => `${label} ${percent(share)}`).join(", ")}.`];
    const of = (number) => `${count(number)} of ${rowsOf(this.rows)}`;
    if (this.unreadable) said.push(`${of(this.unreadable)} unreadable: not English, or too few words that the model knows.`);
    if (this.unsure) said.push(`${of(this.unsure)} not sure: there the label is a guess.`);
    if (this.errors) said.push(`${of(this.errors)} could not be classified; the error column says why.`);
    return said;
  }

  jsonl() {
    return new Blob(this.lines.map((line) => `${line}\n`), { type: "application/x-ndjson" });
  }

  csv() {
    const columns = this.allColumns();
    const lines = this.lines.map((line) => {
      const row = parseRow(line);
      return csvLine(columns.map((name) => row[name]));
    });
    return new Blob([csvLine(columns), ...lines], { type: "text/csv;charset=utf-8" });
  }
}

function cellOf(value) {
  const shown = typeof value === "number" && !Number.isInteger(value) ? value.toFixed(4)
    : value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  const cell = element("td", {}, shown.length > 200 ? `${shown.slice(0, 200)} …` : shown);
  if (typeof value === "number") cell.className = "number";
  return cell;
}
