// Files as the page sees them: what they are by name, what the service finds in them, and results as CSV.

import { ask } from "./service.js";

const HEAD = 262_144;
/** Bytes of a workbook that are sent to look at its first rows. */
const MOST = 1_048_576;
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

/** The encoding of a file, by its first bytes: UTF-8 where they are that, else the likeliest other one. */
export async function encodingOf(file) {
  const head = await file.slice(0, HEAD).arrayBuffer();
  try {
    // As a stream, since the last character may be cut off.
    new TextDecoder("utf-8", { fatal: true }).decode(head, { stream: true });
    return "utf-8";
  } catch {
    return "cp1252";
  }
}

/** The columns and first rows of a file as the service reads it; null where its start does not tell and the whole is too
 * large to be sent for that.
 */
export async function firstRows(file, fields, signal) {
  const whole = WHOLE.has(fields.format);
  if (whole && file.size > MOST) return null;
  const body = await (whole ? file : file.slice(0, HEAD)).arrayBuffer();
  const response = await ask(`files/columns?${new URLSearchParams(fields)}`, { method: "POST", body, signal: AbortSignal.any([signal, AbortSignal.timeout(LIMIT)]) });
  return response.json();
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
