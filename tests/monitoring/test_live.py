"""Every panel and every rule on a real Prometheus that watches the real service under load; alerts by real faults."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.histograms import HISTOGRAMS_FILE, text_of
from app.model.torch_predictor import TorchPredictor
from app.store import METRICS_FILE, ModelStore
from app.training.evaluation import judge, measure, reference_histograms
from app.training.labelled import Examples
from monitoring.dashboards import Panel, fill_in, read_dashboards
from tests.checkpoints import add_checkpoint, tiny_config, tiny_network, tiny_tokenizer
from tests.inference_routes import inference_routes
from tests.monitoring.load import flood, load
from tests.monitoring.stack import Prometheus, exporting, probing, targets_of, watching
from tests.redis_server import RedisServer
from tests.service import Service, serving
from tests.test_service import reviews
from tests.waiting import wait_until

pytestmark = pytest.mark.extra

CLIENTS = 6
WARM_UP = 25.0
SHADOW = "other"
"""A model that judges the same texts once more."""
ROOT = Path(__file__).parent.parent.parent
PANELS = [
    pytest.param(panel, id=f"{board.path.stem}-{panel.id}") for board in read_dashboards() for panel in board.panels
]


@dataclass
class Stack:
    """What runs while this module is tested."""

    service: Service
    redis: RedisServer
    prometheus: Prometheus


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, and what it said about its held-out texts; slow enough for a queue."""
    from app.model.checkpoint import save_checkpoint

    root = tmp_path_factory.mktemp("store")
    config = tiny_config(hidden_size=384, max_tokens=120, head_tokens=20)
    network, tokenizer = tiny_network(config), tiny_tokenizer(config)
    add_checkpoint(root, SHADOW)
    texts = reviews(300, seed=7)
    examples = Examples(texts, [number % 2 for number in range(len(texts))], [None] * len(texts))
    outcome = judge(TorchPredictor(network, "cpu"), tokenizer, config.labels, examples)
    with ModelStore(root).new_version("tiny") as folder:
        save_checkpoint(folder, network, tokenizer)
        (folder / METRICS_FILE).write_text(json.dumps({"test": measure(outcome).as_dict()}))
        (folder / HISTOGRAMS_FILE).write_text(text_of(reference_histograms("texts", outcome)))
    return root


@pytest.fixture(scope="module")
def stack(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything, under load for a while already and as long as the tests run."""
    folder = tmp_path_factory.mktemp("stack")
    (folder / "feedback").mkdir()
    redis = RedisServer(folder)
    redis.start()
    settings = {
        "redis_url": redis.url,
        "redis_timeout": "2",
        "workers": "2",
        "cache_size": "20",
        "precision": "float32",
        "threads": "1",
        "max_queue": "200",
        "max_texts": "50",
        "max_batch_size": "4",
        "engine_timeout": "120",
        "feedback_folder": str(folder / "feedback"),
        "further_models": SHADOW,
    }
    try:
        with (
            serving(store, **settings) as service,
            exporting(redis.url, folder) as exporter,
            probing(folder) as blackbox,
            watching(targets_of(service.url, exporter, blackbox), folder) as prometheus,
            load(service.url, CLIENTS),
        ):
            service.cast_shadow(f"{SHADOW}/1", 100)
            time.sleep(WARM_UP)
            yield Stack(service, redis, prometheus)
    finally:
        redis.stop()


def decided(expression: str) -> str:
    """An alert's expression as a judgement, 0 or 1, so that it has a result while all is well."""
    return re.sub(r" (==|>|<) (?!bool )", r" \1 bool ", expression)


def is_known(samples: list[dict[str, Any]]) -> bool:
    """Whether there is a number among samples."""
    return any(sample["value"][1] != "NaN" for sample in samples)


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_has_data(stack: Stack, panel: Panel) -> None:
    """Each of its queries, with all variables on All; those about a GPU only where there is one."""
    if panel.needs_gpu and not stack.prometheus.query("sentiment_gpu_memory_bytes"):
        pytest.skip("no GPU here")
    for expression, _ in panel.queries:
        asked = fill_in(expression, "15s")
        wait_until(lambda asked=asked: is_known(stack.prometheus.query(asked)), asked)  # type: ignore[misc]


def test_every_rule_has_data_and_is_healthy(stack: Stack) -> None:
    """Recorded series, and alerts whose condition is left open."""
    rules = stack.prometheus.rules()
    assert len(rules) > 20
    for rule in rules:
        assert rule["health"] == "ok", rule
        stack.prometheus.wait(decided(rule["query"]) if rule["type"] == "alerting" else rule["query"])


def test_every_route_of_inference_is_watched(stack: Stack) -> None:
    """The service counts them under the names that the rules know."""
    asked = inference_routes(json.loads((ROOT / "docs" / "openapi.json").read_text()))
    for expression in ("sentiment:route_errors:rate5m", "sentiment:route_duration_seconds:p99_5m"):
        watched = {sample["metric"]["route"] for sample in stack.prometheus.query(expression)}
        assert watched == (asked - {"/files", "/files/columns"} if "duration" in expression else asked)


def test_the_engine_is_down_and_requests_fail(stack: Stack) -> None:
    """The engine is killed and its successor hangs: its alert and the error budget's fire; the first resolves."""
    prometheus = stack.prometheus
    # On a busy machine some requests of the load come too late at first, and are errors until they leave the window.
    for alert in ("SentimentEngineDown", "SentimentErrorBudgetFastBurn"):
        prometheus.wait(f'absent(ALERTS{{alertname="{alert}",alertstate="firing"}})')
    # The first one is that of what is served.
    place, killed = min(stack.service.engines().items())
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: stack.service.engines().get(place, killed) != killed, "no successor")
    found = [stack.service.engines()[place]]
    os.kill(found[0], signal.SIGSTOP)
    try:
        prometheus.wait('ALERTS{alertname="SentimentEngineDown",alertstate="firing"}')
        prometheus.wait('ALERTS{alertname="SentimentErrorBudgetFastBurn",alertstate="firing"}')
    finally:
        os.kill(found[0], signal.SIGCONT)
    stack.service.wait_ready()
    prometheus.wait("min(sentiment_engine_ready) == 1")
    prometheus.wait('absent(ALERTS{alertname="SentimentEngineDown"})')


def test_the_service_does_not_accept(stack: Stack) -> None:
    """Its workers hang: nothing is counted by the service, and the probe's alert fires and resolves."""
    prometheus = stack.prometheus
    workers = stack.service.children("worker")
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        prometheus.wait('ALERTS{alertname="SentimentNotReachable",alertstate="firing"}')
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    prometheus.wait('absent(ALERTS{alertname="SentimentNotReachable"})')


def test_redis_fails(stack: Stack) -> None:
    """Redis is killed: its alert fires, and resolves once it is back."""
    prometheus = stack.prometheus
    prometheus.wait('absent(ALERTS{alertname="SentimentCacheErrors",alertstate="firing"})')
    stack.redis.stop()
    try:
        prometheus.wait('ALERTS{alertname="SentimentCacheErrors",alertstate="firing"}')
    finally:
        stack.redis.start()
    prometheus.wait('absent(ALERTS{alertname="SentimentCacheErrors"})')


def test_the_queue_is_nearly_full(stack: Stack) -> None:
    """More is asked than the engine computes: the alert fires, and resolves once they stop."""
    prometheus = stack.prometheus
    prometheus.wait('absent(ALERTS{alertname="SentimentQueueNearBound",alertstate="firing"})')
    with load(stack.service.url, 32, flood):
        prometheus.wait('ALERTS{alertname="SentimentQueueNearBound",alertstate="firing"}')
    prometheus.wait('absent(ALERTS{alertname="SentimentQueueNearBound"})')
