// The service as the page sees it: requests, and its errors in words a person understands.

let key = "";

export function useKey(given) {
  key = given;
}

/** An error whose message can be shown. `needsKey` asks for an API key; `retryAfter` is in seconds. */
export class ServiceError extends Error {
  constructor(message, { code = "", status = 0, detail = "", retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { code, status, detail, retryAfter, needsKey: status === 401 });
  }
}

const MESSAGES = {
  overloaded: "The service is busy just now. Please try again in a moment.",
  rate_limited: "You have asked for more than your share just now. Please wait a moment.",
  engine_unavailable: "The service is starting. Please try again in a few seconds.",
  explainer_unavailable: "The explanation is not available just now.",
  deadline_exceeded: "That took too long and was given up. Please try again.",
  blank_text: "There is no text to read yet.",
  no_words: "There is no word in this text.",
  text_too_long: "This text is too long for the service.",
  too_much_to_explain: "This text is too long to be explained; the answer above still holds.",
  body_too_large: "That is larger than the service accepts.",
  unsupported_media_type: "That is not a kind of file this page can score. Choose CSV, TSV, Excel (.xlsx), JSON, JSONL, Parquet or lines of text.",
  unauthorized: "This service needs an API key.",
  forbidden: "This API key does not allow that.",
  internal_error: "The service failed on this. It has been written to its log.",
};

/** Sends a request and returns the response if it is a good one. */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service cannot be reached. Is it still running?", { code: "unreachable" });
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

export async function askJson(path, body, signal) {
  const response = await ask(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal,
  });
  return response.json();
}

async function errorOf(response) {
  const problem = await response.json().catch(() => ({}));
  const code = problem.code ?? "";
  const known = MESSAGES[code] ?? (response.status >= 500 ? MESSAGES.overloaded : "");
  // What is wrong with a file or a field only the service knows.
  const message = known || problem.detail || `The service answered ${response.status}.`;
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  return new ServiceError(message, { code, status: response.status, detail: problem.detail ?? "", retryAfter });
}
