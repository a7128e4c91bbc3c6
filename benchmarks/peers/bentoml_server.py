"""BentoML: adaptive batching. It learns how long to wait, so there is no fixed wait to set.

A batchable endpoint takes and answers lists; every client sends a list of one.
"""

import bentoml

from benchmarks.peers.model import MAX_BATCH, WORKERS, Answer, load_classify


@bentoml.service(workers=WORKERS, traffic={"timeout": 60})
class Sentiment:
    def __init__(self) -> None:
        self.model = load_classify()

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=10_000)
    def classify(self, texts: list[str]) -> list[Answer]:
        return self.model(texts)
