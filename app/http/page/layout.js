// How a file is written: found by its name, its first bytes and the service, shown, and changed by hand.

import { encodingOf, firstRows, formatOf } from "./table.js";
import { element } from "./draw.js";

const FORMATS = { csv: "CSV", tsv: "TSV", jsonl: "JSON lines", json: "JSON", lines: "lines of text", xlsx: "Excel", parquet: "Parquet" };
const DELIMITERS = { "": "as found", ",": "comma", ";": "semicolon", "\\t": "tab", "|": "bar" };
const ENCODINGS = { "utf-8": "UTF-8", cp1252: "Windows-1252, Western Europe", cp1250: "Windows-1250, Central Europe", "mac-roman": "Mac Roman" };
/** Formats in which there is something to choose. */
const DELIMITED = ["csv", "tsv"];
const WITH_HEADER = ["csv", "tsv", "xlsx"];
const BINARY = ["xlsx", "parquet"];

const $ = (id) => document.getElementById(id);
const optionsOf = (names) => Object.entries(names).map(([value, name]) => element("option", { value }, name));

export class FileLayout {
  /** notice: where errors are said. */
  constructor(notice) {
    this.notice = notice;
    this.reading = new AbortController();
    $("format").replaceChildren(...optionsOf(FORMATS));
    $("delimiter").replaceChildren(...optionsOf(DELIMITERS));
    $("encoding").replaceChildren(...optionsOf(ENCODINGS));
    for (const id of ["format", "delimiter", "encoding", "has-header"]) $(id).addEventListener("change", () => this.read());
    $("column").addEventListener("change", () => this.mark());
  }

  /** What a file seems to be; false where its name tells no format. */
  async choose(file) {
    this.reading.abort();
    this.file = file;
    const format = formatOf(file);
    if (!format) return false;
    $("format").value = format;
    $("delimiter").value = "";
    $("has-header").checked = true;
    const encoding = await encodingOf(file);
    if (file !== this.file) return true;
    $("encoding").value = encoding;
    this.guessed = encoding !== "utf-8" && !BINARY.includes(format) ? encoding : "";
    await this.read();
    return true;
  }

  get format() {
    return $("format").value;
  }

  /** The parameters of a request for this file. */
  get fields() {
    const column = $("column").hidden ? $("column-name").value.trim() : $("column").value;
    return {
      format: this.format,
      ...(DELIMITED.includes(this.format) && $("delimiter").value && { delimiter: $("delimiter").value }),
      ...(!BINARY.includes(this.format) && { encoding: $("encoding").value }),
      ...(WITH_HEADER.includes(this.format) && !$("has-header").checked && { no_header: "true" }),
      ...(column && { text_column: column }),
    };
  }

  /** Asks for columns and first rows, and shows them. */
  async read() {
    this.reading.abort();
    const { signal } = this.reading = new AbortController();
    this.show({ columns: [], rows: [] });
    this.notice.clear();
    const { text_column: _, ...fields } = this.fields;
    try {
      const found = await firstRows(this.file, fields, signal);
      if (signal.aborted) return;
      if (found) this.show(found);
      else $("layout-found").textContent = "A workbook of this size is not shown before it is scored. Its column of reviews is found by its name, or named here.";
    } catch (error) {
      if (!signal.aborted) this.notice.show(error, () => this.read());
    }
  }

  show({ columns, text_column: likely, layout, delimiter, rows }) {
    const { format } = this;
    $("delimiter-choice").hidden = !DELIMITED.includes(format);
    $("encoding-choice").hidden = BINARY.includes(format);
    $("header-choice").hidden = !WITH_HEADER.includes(format);
    const named = columns.filter((name) => name);
    $("column").hidden = !named.length;
    $("column-name").hidden = Boolean(named.length);
    $("column-name").value = "";
    $("column").replaceChildren(...named.map((name) => element("option", { value: name, selected: name === likely }, name)));
    const between = delimiter === "\t" ? "tab" : DELIMITERS[delimiter || ""] ?? delimiter;
    $("delimiter").options[0].textContent = delimiter ? `as found: ${between}` : DELIMITERS[""];
    $("layout-found").textContent = layout ? this.described(layout, likely) : "";
    $("preview").hidden = !named.length;
    const head = columns.map((name) => element("th", { scope: "col" }, name));
    $("preview").querySelector("thead").replaceChildren(element("tr", {}, ...head));
    $("preview").querySelector("tbody").replaceChildren(...rows.map((row) => element("tr", {}, ...row.map((value) => element("td", {}, value)))));
    this.columns = columns;
    this.mark();
  }

  described(layout, likely) {
    const said = [`Found: ${layout}.`];
    if (this.guessed && $("encoding").value === this.guessed) said.push(`It is not UTF-8; ${ENCODINGS[this.guessed]}, is a guess: look whether the letters below are right.`);
    if (!likely) said.push("Which column has the reviews is not clear: choose it.");
    return said.join(" ");
  }

  /** Shows which column will be read. */
  mark() {
    const place = $("column").hidden ? -1 : this.columns.indexOf($("column").value);
    for (const row of $("preview").querySelectorAll("tr")) {
      [...row.children].forEach((cell, index) => cell.classList.toggle("chosen", index === place));
    }
  }
}
