// Posts the same body several times with node's fetch and with its http module, which keeps connections.
import http from "node:http";

const [url, body] = process.argv.slice(2);
const headers = { "Content-Type": "application/json" };
const response = await fetch(url, { method: "POST", headers, body });
console.log(response.status, await response.text());

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
for (let i = 0; i < 2; i++) {
  await new Promise((resolve, reject) => {
    const request = http.request(url, { method: "POST", headers, agent }, (answer) => {
      let text = "";
      answer.on("data", (part) => { text += part; });
      answer.on("end", () => { console.log(answer.statusCode, text); resolve(); });
    });
    request.on("error", reject);
    request.end(body);
  });
}
agent.destroy();
