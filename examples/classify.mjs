// In front of a running service with fetch alone: node 18 or newer, or a browser (see SENTIMENT_CORS_ORIGINS).
const url = process.argv[2] ?? "http://127.0.0.1:8000";

async function classify(texts, attempts = 5) {
  const response = await fetch(`${url}/v1/classify`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Timeout-Seconds": "20" },
    body: JSON.stringify({ texts }),
  });
  if ((response.status === 429 || response.status === 503) && attempts > 1) {
    const seconds = Number(response.headers.get("Retry-After") ?? 1);
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
    return classify(texts, attempts - 1);
  }
  const answer = await response.json();
  if (!response.ok) throw new Error(`${response.status}: ${answer.detail}`);
  return answer.results;
}

for (const result of await classify(["Great value, works perfectly.", "Broke after two days.", ""])) {
  console.log(result.error ? result.error.code : `${result.label} ${result.judgement}`);
}
