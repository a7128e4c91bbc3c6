// Files as the page sees them: what they are by name, what the service finds in them, and results as CSV.

import { ask } from "./service.js";

const HEAD = 262144;
/** Milliseconds in which the service must find the columns. */
const LIMIT = 10_000;
const TYPES = {
  csv: "csv", tsv: "tsv", tab: "tsv", jsonl: "jsonl", ndjson: "jsonl", json: "json", txt: "lines", xlsx: "xlsx", parquet: "parquet", pq: "parquet",
};
const WHOLE = new Set(["parquet", "xlsx"]);
const FORMULA = /^ *[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/;
const NUMBER = /^[+-]?[0-9]+([.,][0-9]+)?$/;

/** The service's name for the format of a file, by its name; undefined for others. */
export function formatOf(file) {
  return TYPES[file.name.toLowerCase().split(".").pop()];
}

/** Names of a file's columns and the likely one, as the service finds them; none where it cannot tell by the start. */
export async function columnsOf(file, format) {
  const body = await file.slice(0, HEAD).arrayBuffer();
  const none = { columns: [], likely: "" };
  if (WHOLE.has(format)) return none;
  try {
    const response = await ask(`files/columns?format=${format}`, { method: "POST", body, signal: AbortSignal.timeout(LIMIT) });
    const { columns, text_column: likely } = await response.json();
    return { columns: columns.filter((name) => name), likely: likely ?? columns[0] };
  } catch {
    // What is wrong with the file, or that a key is needed, is said when it is to be scored.
    return none;
  }
}

/** A row of JSON lines. A whole number that JavaScript cannot hold stays the text it is, where the browser shows it. */
export function parseRow(line) {
  return JSON.parse(line, (_, value, context) => (Number.isInteger(value) && !Number.isSafeInteger(value) ? context?.source ?? value : value));
}

/** One record of CSV, with an apostrophe before what a spreadsheet would compute. */
export function csvLine(values) {
  return values.map((value) => {
    const plain = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    const text = typeof value === "string" && FORMULA.test(value) && !NUMBER.test(value) ? `'${plain}` : plain;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }).join(",") + "\r\n";
}

/** Lines of a streamed response. */
export async function* linesOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    yield lines;
  }
  if (rest.trim()) yield [rest];
}
