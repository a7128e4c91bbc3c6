"""``python -m tests.monitoring.pictures [CORPUS]``: the pictures of the dashboards in docs/images.

Runs the shipped model, the version before it beside it, Redis and Prometheus on this machine, asks for reviews of the
corpus, lets the engine and Redis fail and the queue fill up, and draws what Prometheus then knows. Where the version's
metrics.json lacks figures, they are measured on a sample of the corpus' test split. Without a corpus it asks for texts
that were put together by chance, which no figures can be measured on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from pathlib import Path

import httpx

from app.checksums import write_sums
from app.model.runtimes import load_predictor
from app.store import METRICS_FILE, ModelStore
from app.text.tokenizer import load_tokenizer
from app.training.corpus import load_corpus
from app.training.evaluation import judge, measure
from app.training.labelled import CORPUS_LABELS, Examples, corpus_examples
from monitoring import preview
from monitoring.dashboards import read_dashboards
from tests.monitoring.load import load
from tests.monitoring.stack import exporting, probing, targets_of, watching
from tests.pictures import IMAGES, MODEL, STORE, served, stamp
from tests.redis_server import RedisServer
from tests.reviews import written_reviews
from tests.service import Service, serving

SAMPLE = 2000
BESIDE = "reviews-gru/1"
"""Is asked for one request in five, and judges a third of the other texts as a shadow."""


def sample(corpus: Path) -> Examples:
    """Some reviews of the corpus' test split."""
    examples = corpus_examples(load_corpus(corpus).test, CORPUS_LABELS)
    return examples.take(random.Random(1).sample(range(len(examples)), SAMPLE))


def copy_model(folder: Path, examples: Examples | None) -> Path:
    """A store with ``BESIDE`` and the served version, with figures of the examples where it has none of its own."""
    shutil.copytree(STORE / BESIDE, folder / "store" / BESIDE)
    model = ModelStore(STORE).open(MODEL)
    target = folder / "store" / MODEL / str(model.version)
    shutil.copytree(model.path, target)
    document = model.metrics
    if examples and "unknown" not in document["test"]:
        tokenizer, predictor = load_tokenizer(model), load_predictor(model)
        document["test"] = measure(judge(predictor, tokenizer, CORPUS_LABELS, examples)).as_dict()
        (target / METRICS_FILE).write_text(json.dumps(document))
        write_sums(target)
    return folder / "store"


def live_through(service: Service, redis: RedisServer, texts: list[str], seconds: float) -> None:
    """An ordinary time, then a dead engine, a time without Redis, more than can be computed, and an ordinary time."""

    models = [{"model": BESIDE}, {}, {}, {}, {}]

    def ask(client: httpx.Client, chance: random.Random) -> None:
        # A few texts are asked for again and again.
        found = [texts[int(len(texts) * chance.random() ** 3)] for _ in range(chance.choice((1, 1, 1, 4)))]
        client.post("/classify", json={"texts": found, **chance.choice(models)})
        time.sleep(0.1)

    def flood(client: httpx.Client, chance: random.Random) -> None:
        client.post("/classify", json={"texts": [f"{chance.random()} {text}" for text in chance.sample(texts, 20)]})

    with load(service.url, 6, ask):
        time.sleep(seconds * 0.3)
        os.kill(service.children("engine")[0], signal.SIGKILL)
        time.sleep(seconds * 0.15)
        redis.stop()
        time.sleep(seconds * 0.1)
        redis.start()
        time.sleep(seconds * 0.1)
        with load(service.url, 30, flood):
            time.sleep(seconds * 0.15)
        time.sleep(seconds * 0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, nargs="?", help="the data set; none: reviews put together by chance")
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures (default: docs/images)")
    options = parser.parse_args()
    examples = sample(options.corpus) if options.corpus else None
    texts = examples.texts if examples else written_reviews(SAMPLE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = copy_model(folder, examples)
        redis = RedisServer(folder)
        redis.start()
        try:
            settings = {"redis_url": redis.url, "cache_size": "200", "max_queue": "500", "max_texts": "100"}
            settings["further_models"] = BESIDE
            with (
                serving(store, MODEL, **settings) as service,
                exporting(redis.url, folder) as exporter,
                probing(folder) as blackbox,
                watching(targets_of(service.url, exporter, blackbox), folder) as prometheus,
            ):
                service.cast_shadow(BESIDE, 30)
                live_through(service, redis, texts, options.minutes * 60)
                options.out.mkdir(parents=True, exist_ok=True)
                with httpx.Client(base_url=prometheus.url, timeout=30) as client:
                    source = preview.Source(client, options.minutes, "10s")
                    for board in read_dashboards():
                        path = options.out / f"dashboard-{board.path.stem}.png"
                        path.write_bytes(stamp(preview.draw(board, source), Shows=served()))
        finally:
            redis.stop()


if __name__ == "__main__":
    main()
