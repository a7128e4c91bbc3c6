"""Texts per second of tokenizing and forward passes in one process, no HTTP: the limit for one big request.

Reads a JSON list of lists of texts from a file and prints, as JSON, the seconds each list took.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from app.model.runtimes import load_predictors
from app.sentiment import Encoding, Predictor, Scores, TokenIds
from app.store import StoredModel, open_version
from app.text.tokenizer import load_tokenizer

_BATCH = 64


@contextmanager
def bare_work(model: StoredModel, threads: int) -> Iterator[Callable[[Sequence[str]], None]]:
    """Tokenizing and forward passes of all texts of a list, in batches of like length, on so many threads."""
    tokenizer = load_tokenizer(model)
    predictors = load_predictors(model, "cpu", "auto", "auto", threads=threads)
    idle: SimpleQueue[Predictor] = SimpleQueue()
    for predictor in predictors:
        idle.put(predictor)

    def predict(batch: list[TokenIds[int]]) -> list[Scores]:
        predictor = idle.get()
        try:
            return predictor.predict(batch)
        finally:
            idle.put(predictor)

    with ThreadPoolExecutor(len(predictors)) as pool:

        def work(texts: Sequence[str]) -> None:
            encodings = tokenizer.encode_all(texts)
            ids = sorted((each.ids for each in encodings if isinstance(each, Encoding)), key=len)
            list(pool.map(predict, [ids[first : first + _BATCH] for first in range(0, len(ids), _BATCH)]))

        yield work


def main() -> None:
    folder, file = sys.argv[1:]
    seconds = []
    with bare_work(open_version(Path(folder)), threads=2) as work:
        for texts in json.loads(Path(file).read_text(encoding="utf-8")):
            start = time.perf_counter()
            work(texts)
            seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
