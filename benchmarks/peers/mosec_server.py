"""Mosec: a Rust front end that batches, Python worker processes that compute."""

from mosec import Server, Worker

from benchmarks.peers.model import MAX_BATCH, MAX_WAIT_MS, WORKERS, Answer, load_classify


class Sentiment(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.classify = load_classify()

    def forward(self, data: list[dict[str, str]]) -> list[Answer]:
        return self.classify([review["text"] for review in data])


if __name__ == "__main__":
    server = Server()
    server.append_worker(Sentiment, num=WORKERS, max_batch_size=MAX_BATCH, max_wait_time=MAX_WAIT_MS)
    server.run()
