// The request for a text as one copies it into a program, and its answer.

import { copy } from "./share.js";
import { element } from "./draw.js";
import { hasKey } from "./service.js";

const KEY = "SENTIMENT_KEY";
const $ = (id) => document.getElementById(id);
const address = () => new URL(".", document.baseURI).href;
/** In single quotes, as a POSIX shell reads them. */
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** What is shown of a text and its answer, by the name it has in the list. A key stays in the environment. */
const WRITTEN = {
  curl: (text) => [
    `curl -s ${shell(`${address()}classify`)} -H 'Content-Type: application/json' \\`,
    ...(hasKey() ? [`     -H "Authorization: Bearer $${KEY}" \\`] : []),
    `     -d ${shell(JSON.stringify({ text }))}`,
  ],
  Python: (text) => [
    ...(hasKey() ? ["import os", ""] : []),
    "from sentiment_service import Sentiment",
    "",
    `with Sentiment("${address()}"${hasKey() ? `, key=os.environ["${KEY}"]` : ""}) as sentiment:`,
    `    result = sentiment.classify(${JSON.stringify(text)})`,
    "    print(result.label, result.score, result.judgement)",
  ],
  JavaScript: (text) => [
    `const response = await fetch("${address()}classify", {`,
    '  method: "POST",',
    `  headers: { "Content-Type": "application/json"${hasKey() ? `, Authorization: \`Bearer \${process.env.${KEY}}\`` : ""} },`,
    `  body: JSON.stringify({ text: ${JSON.stringify(text)} }),`,
    "});",
    "console.log(await response.json());",
  ],
  "JSON answer": (_, answer) => [JSON.stringify(answer, null, 2)],
};

export class Code {
  constructor(review) {
    this.review = review;
    $("language").replaceChildren(...Object.keys(WRITTEN).map((name) => element("option", {}, name)));
    $("language").addEventListener("change", () => this.show());
    $("code").addEventListener("toggle", () => this.show());
    $("copy-code").addEventListener("click", () => copy($("snippet").textContent, $("snippet"), $("code-said")));
    review.addEventListener("change", () => this.take(null));
    review.addEventListener("answer", ({ detail }) => this.take(detail));
  }

  take(answer) {
    this.answer = answer;
    this.show();
  }

  show() {
    $("code-said").textContent = "";
    const lines = this.answer && $("code").open ? WRITTEN[$("language").value](this.review.text, this.answer) : [];
    $("snippet").textContent = lines.join("\n");
  }
}
