"""What explanations are worth, and what they cost everybody else.

    python -m benchmarks.explanations faithful CORPUS [--model imdb-gru]
    python -m benchmarks.explanations quiet CORPUS

``faithful`` explains reviews of the test split: whether attributions add up, whether taking away the five strongest
tokens moves the score more than taking away five others at random, and how long each explanation takes. ``quiet``
starts the service and compares the latency of plain requests while nobody and while everybody asks for explanations,
by turns.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from app.model.attribution import integrated_gradients
from app.model.checkpoint import load_network
from app.model.double_network import DoubleNetwork
from app.model.networks import SentimentNetwork
from app.model.torch_predictor import probabilities_of
from app.model.weights import read_weights
from app.store import ModelStore
from app.text.tokenizer import load_tokenizer
from app.training.corpus import load_corpus
from benchmarks import load

_STRONGEST = 5
_DRAWS = 20
_TIMEOUT = 120.0
_HOST = "127.0.0.1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("corpus", type=Path, help="archive or folder of the review corpus")
    shared.add_argument("--model", default="imdb-gru")
    shared.add_argument("--store", type=Path, default=Path("model_store"))
    shared.add_argument("--seed", type=int, default=0)
    first = commands.add_parser("faithful", parents=[shared])
    first.add_argument("--reviews", type=int, default=200)
    first.set_defaults(run=faithful)
    second = commands.add_parser("quiet", parents=[shared])
    second.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    second.add_argument("--seconds", type=float, default=10)
    second.add_argument("--rounds", type=int, default=3)
    second.add_argument("--explaining", type=int, default=8, help="clients that ask for explanations")
    second.set_defaults(run=quiet)
    options = parser.parse_args()
    options.run(options)


def sample(options: argparse.Namespace, count: int) -> list[str]:
    """Different reviews of the test split, in an order of chance."""
    texts = sorted({review.text for review in load_corpus(options.corpus).test})
    return random.Random(options.seed).sample(texts, count)


def faithful(options: argparse.Namespace) -> None:
    """Print the figures of ``faithful``."""
    torch.set_num_threads(1)
    model = ModelStore(options.store).open(options.model)
    tokenizer = load_tokenizer(model)
    network = load_network(model.path, model.config).double().requires_grad_(False)
    explained = DoubleNetwork(read_weights(model.path, model.config), model.config)
    chance = random.Random(options.seed)
    gaps, seconds, moved, jumps = [], [], Counter[str](), 0
    for text in sample(options, options.reviews):
        encoded = tokenizer.encode(text).ids
        ids = encoded.tolist()
        whole = scores(network, [ids])[0]
        target = whole.index(max(whole))
        started = time.perf_counter()
        found = integrated_gradients(explained, encoded, target)
        seconds.append(time.perf_counter() - started)
        jumps += bool(found.jumps)
        difference = found.text - found.baseline
        gaps.append(abs(sum(found.tokens) - difference) / max(1.0, abs(difference)))
        if len(ids) <= _STRONGEST:
            continue
        strongest = sorted(range(len(ids)), key=lambda index: -abs(found.tokens[index]))[:_STRONGEST]
        others = [chance.sample(range(len(ids)), _STRONGEST) for _ in range(_DRAWS)]
        without = [row[target] for row in scores(network, [taken(ids, gone) for gone in (strongest, *others)])]
        changes = [abs(score - whole[target]) for score in without]
        moved["reviews"] += 1
        moved["one draw"] += changes[0] > changes[1]
        moved["mean of draws"] += changes[0] > statistics.mean(changes[1:])
    within = sum(gap <= 0.01 for gap in gaps)
    print(f"{model.reference}: {len(gaps)} reviews, attributions add up within 1 % in {within}, worst {max(gaps):.2%}")
    for name in ("one draw", "mean of draws"):
        share = moved[name] / moved["reviews"]
        print(f"five strongest tokens move the score more than five at random ({name}): {share:.1%}")
    print(
        f"seconds: median {statistics.median(seconds):.2f}, 95 % {statistics.quantiles(seconds, n=20)[-1]:.2f}, "
        f"most {max(seconds):.2f}; reviews with a jump: {jumps}"
    )


def scores(network: SentimentNetwork, texts: Sequence[Sequence[int]]) -> list[list[float]]:
    """Probabilities of texts of one length."""
    with torch.inference_mode():
        lengths = torch.full((len(texts),), len(texts[0]))
        rows: list[list[float]] = probabilities_of(
            network(torch.tensor(texts), lengths).logits, network.config.temperature
        ).tolist()
    return rows


def taken(ids: Sequence[int], gone: Sequence[int]) -> list[int]:
    """Token ids without those at the given positions."""
    return [number for index, number in enumerate(ids) if index not in set(gone)]


def quiet(options: argparse.Namespace) -> None:
    """Print the figures of ``quiet``."""
    texts = sample(options, 12_000)
    explained, plain = texts[:2_000], texts[2_000:]
    settings = {"SENTIMENT_MODEL": options.model, "SENTIMENT_CACHE": "false"}
    with tempfile.TemporaryDirectory() as folder, service(Path(folder), settings) as port:
        bodies = Path(folder) / "bodies.txt"
        bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in plain), encoding="utf-8")
        url = f"http://{_HOST}:{port}/classify"
        load.run(url, bodies, 8, 3, 0)
        explain(port, explained[0])
        print(
            "| connections | p99, nobody explains | p99, explanations saturate | ratio | req/s | req/s | explained/s |"
        )
        print("|---|---|---|---|---|---|---|")
        for connections in options.connections:
            compare(options, url, bodies, connections, port, explained)


def compare(
    options: argparse.Namespace, url: str, bodies: Path, connections: int, port: int, texts: Sequence[str]
) -> None:
    """Print one row: medians over rounds, the two situations by turns."""
    without, with_, statuses, seconds = [], [], Counter[int](), 0.0
    for number in range(options.rounds):
        without.append(load.run(url, bodies, connections, options.seconds, 2 * number * 3_000))
        with explaining(port, texts, options.explaining, statuses):
            started = time.monotonic()
            time.sleep(1)
            with_.append(load.run(url, bodies, connections, options.seconds, (2 * number + 1) * 3_000))
            seconds += time.monotonic() - started
    errors = sum(interval.errors for interval in without + with_)
    before, during = (statistics.median(interval.p99 for interval in some) for some in (without, with_))
    rates = [statistics.median(interval.rate for interval in some) for some in (without, with_)]
    print(
        f"| {connections} | {before * 1000:.1f} ms | {during * 1000:.1f} ms | {during / before:.2f} | {rates[0]:.0f} "
        f"| {rates[1]:.0f} | {statuses[200] / seconds:.1f} |",
        flush=True,
    )
    print(f"    answers with explanation: {dict(statuses)}; errors of plain requests: {errors}", file=sys.stderr)


@contextmanager
def explaining(port: int, texts: Sequence[str], clients: int, statuses: Counter[int]) -> Iterator[None]:
    """Clients that ask for explanations without a pause."""
    over = threading.Event()

    def ask(first: int) -> None:
        for text in texts[first::clients]:
            if over.is_set():
                return
            status = explain(port, text)
            statuses[status] += 1
            if status != 200:
                time.sleep(0.1)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def explain(port: int, text: str) -> int:
    """Ask for everything about a text; the status."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=_TIMEOUT)
    body = json.dumps({"text": text, "explain": ["sentences", "tokens", "curve"]})
    connection.request("POST", "/classify", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response.status


@contextmanager
def service(folder: Path, settings: dict[str, str]) -> Iterator[int]:
    """The service on a free port, with the default placement."""
    output = folder / "service.log"
    environment = {**os.environ, **settings, "SENTIMENT_PORT": "0", "PYTHONUNBUFFERED": "1"}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve"], env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield wait_ready(output)
    finally:
        process.terminate()
        process.wait(60)


def wait_ready(output: Path) -> int:
    """The port, once the service answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if match := re.search(r"http://[^:]+:(\d+)", output.read_text()):
            connection = http.client.HTTPConnection(_HOST, int(match[1]), timeout=5)
            try:
                connection.request("GET", "/health/ready")
                if connection.getresponse().status == 200:
                    return int(match[1])
            except OSError:
                pass
            finally:
                connection.close()
        time.sleep(0.1)
    raise TimeoutError(output.read_text())


if __name__ == "__main__":
    main()
