// The service as the page sees it: requests, and its errors in words a person understands.

const LIMIT = 60_000;
/** Milliseconds after which an answer is given up; the service's own limit is 30 s unless it was told otherwise. */

const KEPT = "sentiment.key";

let key = keptKey();

/** The API key that is sent with every request; "" for none. Kept until the tab is closed. */
export function useKey(given) {
  key = given;
  try {
    if (key) sessionStorage.setItem(KEPT, key);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // A browser that keeps nothing: then it lasts as long as the page.
  }
}

export const hasKey = () => key !== "";
export const usedKey = () => key;

function keptKey() {
  try {
    return sessionStorage.getItem(KEPT) ?? "";
  } catch {
    return "";
  }
}

/** Waits some milliseconds; rejects when the signal says so. */
export const pause = (time, signal) => new Promise((resolve, reject) => {
  signal.addEventListener("abort", () => reject(signal.reason));
  setTimeout(resolve, time);
});

/** An error whose message can be shown. `needsKey` asks for an API key; `retryAfter` is in seconds. */
export class ServiceError extends Error {
  constructor(message, { status = 0, retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { retryAfter, needsKey: status === 401 || status === 403 });
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
  text_too_long: "This text is too long for the service. Shorten it, or split it into several.",
  too_much_to_explain: "This text is too long to be explained; the answer above still holds.",
  body_too_large: "That is larger than the service accepts.",
  unsupported_media_type: "That is not a kind of file this page can score. Choose CSV, TSV, Excel (.xlsx), JSON, JSONL, Parquet or lines of text.",
  unauthorized: "This service needs an API key.",
  forbidden: "This API key is known, but does not allow that. Another one may.",
  feedback_off: "This service keeps no feedback.",
  feedback_full: "There is no room for more feedback; whoever runs the service has to make some. Nothing was kept.",
  feedback_unavailable: "This cannot be kept just now. It is sent again in a few seconds.",
  internal_error: "The service failed on this. It has been written to its log.",
};
const WRONG_KEY = "This API key is wrong: the service does not know it. Check that it was copied whole, and that nobody has revoked it.";
const scopeMissing = (scope) => `This API key is known, but lacks the scope “${scope}”. Use one that was made with --scope ${scope}.`;
const UNREACHABLE = "The service cannot be reached. Is it still running?";
const UNREADABLE = "The answer broke off or cannot be read. Please try again.";

/** Errors whose detail names figures that the page does not know. */
const DETAILED = new Set(["text_too_long", "too_much_to_explain", "body_too_large"]);

/** For answers without a code, as those of a proxy in front of the service are. */
const BY_STATUS = { 401: "unauthorized", 403: "forbidden", 413: "body_too_large", 429: "rate_limited", 504: "deadline_exceeded" };

/** The error as one that can be shown. Any other is an answer that ended in its midst, or is none of this service's. */
export function inWords(error) {
  return error instanceof ServiceError ? error : new ServiceError(UNREADABLE);
}

/** Sends a request and returns the response if it is a good one. */
export async function ask(path, options = {}) {
  const used = key;
  const headers = new Headers(options.headers);
  if (used) headers.set("Authorization", `Bearer ${used}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(UNREACHABLE);
  }
  if (!response.ok) throw await errorOf(response, used);
  return response;
}

/** The JSON that answers a request: a POST where there is a body. Given up after LIMIT, or when the signal says so. */
export async function askJson(path, body, signal, headers = {}) {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), LIMIT);
  const options = { headers, signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal };
  if (body) Object.assign(options, { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) });
  try {
    const response = await ask(path, options);
    return await response.json();
  } catch (error) {
    if (late.signal.aborted) throw new ServiceError(MESSAGES.deadline_exceeded);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function errorOf(response, used) {
  const problem = (await response.json().catch(() => null)) ?? {};
  const { status } = response;
  const code = problem.code ?? BY_STATUS[status] ?? "";
  const scope = /scope="([a-z]+)"/.exec(response.headers.get("WWW-Authenticate"))?.[1];
  const known = status === 403 && scope ? scopeMissing(scope) : status === 401 && used ? WRONG_KEY : MESSAGES[code] ?? (status >= 500 ? MESSAGES.overloaded : "");
  // What is wrong with a file or a field only the service knows.
  const message = !known ? problem.detail || `The service answered ${status}.`
    : DETAILED.has(code) && problem.detail ? `${known} (${problem.detail})` : known;
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  return new ServiceError(message, { status, retryAfter });
}
