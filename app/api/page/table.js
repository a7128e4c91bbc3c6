// Just enough of the file formats to offer a file's columns, and to write results as CSV.

const HEAD = 65536;
const TYPES = { csv: "csv", tsv: "tsv", tab: "tsv", jsonl: "jsonl", ndjson: "jsonl", parquet: "parquet", pq: "parquet" };

/** The service's name for the format of a file, by its name; undefined for others. */
export function formatOf(file) {
  return TYPES[file.name.toLowerCase().split(".").pop()];
}

/** Names of a file's columns; empty where only the service can tell (Parquet). */
export async function columnsOf(file, format) {
  if (format === "parquet") return [];
  const start = (await file.slice(0, HEAD).text()).replace(/^\uFEFF/, "");
  if (format === "jsonl") {
    try {
      return Object.keys(JSON.parse(start.split("\n").find((line) => line.trim()) ?? "{}"));
    } catch {
      return [];
    }
  }
  return firstRecord(start, format === "tsv" ? "\t" : ",");
}

/** RFC 4180, one record. */
function firstRecord(text, separator) {
  const fields = [""];
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (quoted) {
      if (character !== '"') fields[fields.length - 1] += character;
      else if (text[at + 1] === '"') fields[fields.length - 1] += text[at++];
      else quoted = false;
    } else if (character === '"') quoted = true;
    else if (character === separator) fields.push("");
    else if (character === "\n" || character === "\r") break;
    else fields[fields.length - 1] += character;
  }
  return fields.filter((field) => field);
}

/** One record of CSV. */
export function csvLine(values) {
  return values.map((value) => {
    const text = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
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
