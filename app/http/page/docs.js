// The documentation of the API: Swagger UI, once the document is there. Where that needs an API key, it is asked for.

import { KeyForm } from "./key.js";
import { Notice } from "./notice.js";
import { askJson, hasKey, usedKey } from "./service.js";

const notice = new Notice(document.getElementById("notice"), new KeyForm(), { above: true });

async function show() {
  try {
    const spec = await askJson("openapi.json");
    notice.clear();
    const ui = window.SwaggerUIBundle({
      spec,
      dom_id: "#swagger-ui",
      deepLinking: true,
      docExpansion: "none",
      tryItOutEnabled: true,
      displayRequestDuration: true,
      showExtensions: true,
      showCommonExtensions: true,
      // What is tried out there is tried with the same key.
      onComplete: () => hasKey() && ui.preauthorizeApiKey("bearer", usedKey()),
    });
    // What the service is for is open, everything else folded.
    ui.layoutActions.show(["operations-tag", spec.tags[0].name], true);
  } catch (error) {
    notice.show(error, show);
  }
}

show();
