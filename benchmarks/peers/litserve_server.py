"""LitServe: uvicorn front ends, worker processes that batch and compute."""

from typing import Any

import litserve

from benchmarks.peers.model import MAX_BATCH, MAX_WAIT_MS, PORT, WORKERS, Answer, load_classify


class Sentiment(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.classify = load_classify()

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    def predict(self, texts: list[str]) -> list[Answer]:
        return self.classify(texts)

    def encode_response(self, answer: Answer) -> dict[str, Any]:
        return answer


if __name__ == "__main__":
    server = litserve.LitServer(
        Sentiment(max_batch_size=MAX_BATCH, batch_timeout=MAX_WAIT_MS / 1000),
        accelerator="cpu",
        workers_per_device=WORKERS,
    )
    server.run(host="127.0.0.1", port=PORT, log_level="warning", generate_client_file=False)
