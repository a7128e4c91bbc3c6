"""Explanations in the whole service: a process that starts on demand, dies, comes back and ends, and plain answers."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app import logs
from app.main import create_app
from app.native.compiler import KERNEL
from app.settings import Settings
from tests import compiled
from tests.fakes import client_of
from tests.reviews import written_reviews
from tests.service import Service, serving

KINDS = ["sentences", "tokens", "curve"]
NOT_LAST = "import os\nnice = os.nice\nos.nice = lambda more: nice(min(more, 10))\ndel os.SCHED_IDLE\n"
"""For Python's start: a process that steps back keeps a tenth of a core."""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What processes run when Python starts. An explainer computes while nobody else does: where other tests compute on
    all cores that would be never, so those of a short deadline are not put last."""
    path = tmp_path / "sitecustomize.py"
    path.write_text(NOT_LAST)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return path


@pytest.fixture(scope="module")
def service(tiny_store: Path) -> Iterator[Service]:
    """One worker, exact arithmetic; the explainer ends after a second without work."""
    with serving(tiny_store, workers="1", precision="float32", explain_idle="1", timeout="120") as running:
        yield running


def explain(service: Service, text: str, *kinds: str) -> httpx.Response:
    return httpx.post(f"{service.url}/classify", json={"text": text, "explain": kinds or KINDS}, timeout=150)


def check(document: dict[str, Any], text: str) -> None:
    explanation = document.pop("explanation")
    assert explanation["curve"][-1]["score"] == pytest.approx(document["score"], abs=1e-4)
    ends = explanation["log_odds"]
    total = sum(entry["attribution"] for entry in explanation["tokens"])
    assert total == pytest.approx(ends["text"] - ends["baseline"], abs=0.01 * max(1, abs(ends["text"])))
    for entry in [*explanation["sentences"], *explanation["tokens"]]:
        assert text[entry["start"] : entry["end"]].strip()


def wait_for(count: int, service: Service) -> list[int]:
    deadline = time.monotonic() + 90
    while len(found := service.children("explainer")) != count:
        assert time.monotonic() < deadline, f"{len(found)} explainers instead of {count}"
        time.sleep(0.05)
    return found


def test_the_explainer_lives_while_it_is_wanted(service: Service) -> None:
    """Nothing is started for plain requests; the first explanation starts it, killed it comes back with the next, idle
    it ends, and only a death counts as a restart."""
    wait_for(0, service)
    httpx.post(f"{service.url}/classify", json={"text": "a good film"}).raise_for_status()
    assert service.children("explainer") == []
    for number in range(3):
        text = f"a good film {number} \U0001f600 e\u0301"
        plain = httpx.post(f"{service.url}/classify", json={"text": text}).json()
        answer = explain(service, text)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        check(document, text)
        assert {**document, "cached": False} == {**plain, "cached": False}
        if number == 0:
            [explainer] = service.children("explainer")
            assert os.getpriority(os.PRIO_PROCESS, explainer) >= 10
            assert os.sched_getscheduler(explainer) == os.SCHED_IDLE
            assert b"OPENBLAS_NUM_THREADS=1" in Path(f"/proc/{explainer}/environ").read_bytes().split(b"\0")
            os.kill(explainer, signal.SIGKILL)
        elif number == 1:
            assert service.children("explainer") != [explainer]
            wait_for(0, service)
    metrics = service.metrics()
    assert metrics['sentiment_process_restarts_total{role="explainer"}'] == 1
    assert metrics['sentiment_explanations_total{outcome="computed"}'] == 3
    assert metrics['sentiment_explanation_duration_seconds_count{kind="tokens"}'] == 3


def test_several_texts(service: Service) -> None:
    """An entry each, errors in their place."""
    texts = [*written_reviews(5), "...", ""]
    answer = httpx.post(f"{service.url}/classify", json={"texts": texts, "explain": KINDS}, timeout=150)
    results = answer.json()["results"]
    for text, entry in zip(texts[:5], results[:5], strict=True):
        check(entry, text)
    assert [entry["error"]["code"] for entry in results[5:]] == ["no_words", "blank_text"]


def test_known_explanations_need_no_explainer(service: Service) -> None:
    """They come out of the worker's cache, at once."""
    first = explain(service, "a lovely plot").json()
    wait_for(0, service)
    again = explain(service, "a lovely plot", "curve").json()
    assert again["explanation"] == {"curve": first["explanation"]["curve"]}
    assert service.children("explainer") == []


def test_opening_the_page_gets_it_ready(service: Service) -> None:
    """Before anybody has typed a word: everything that a text needs is loaded."""
    wait_for(0, service)
    counter = 'sentiment_explanation_duration_seconds_count{kind="tokens"}'
    before = service.metrics().get(counter, 0)
    httpx.get(f"{service.url}/models", headers={"X-Page": "1"}, timeout=60).raise_for_status()
    deadline = time.monotonic() + 290
    while service.metrics().get(counter, 0) == before:
        assert time.monotonic() < deadline, "nothing was warmed"
        time.sleep(0.05)


def test_a_deadline_that_passes_is_said(service: Service) -> None:
    """504 where the explainer does not answer in time; the same text without explain is answered."""
    wait_for(0, service)
    explain(service, "a slow film", "curve").raise_for_status()
    [explainer] = service.children("explainer")
    os.kill(explainer, signal.SIGSTOP)
    try:
        document = {"text": "a very slow film", "explain": ["curve"]}
        answer = httpx.post(f"{service.url}/classify", json=document, headers={"X-Timeout-Seconds": "1"}, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")
        assert httpx.post(f"{service.url}/classify", json={"text": "a very slow film"}).status_code == 200
    finally:
        os.kill(explainer, signal.SIGCONT)


@pytest.mark.usefixtures("start")
def test_an_explainer_that_cannot_start_ends_nothing_else(tiny_store: Path) -> None:
    """A device that is not there: one line says so, nobody tries again, explanations fail with a clear answer at once;
    plain requests go on, the supervisor too."""
    with serving(tiny_store, workers="1", explain_device="cuda:7") as service:
        document = {"text": "a film", "explain": ["tokens"]}
        deadline = time.monotonic() + 90
        while "explainer-0 cannot be started" not in service.output.read_text():
            assert time.monotonic() < deadline, service.output.read_text()
            headers = {"X-Timeout-Seconds": "2"}
            answer = httpx.post(f"{service.url}/classify", json=document, headers=headers, timeout=60)
            assert answer.status_code in (503, 504)
        answer = httpx.post(f"{service.url}/classify", json=document, timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (503, "explainer_unavailable")
        assert service.output.read_text().count("cannot serve: SENTIMENT_EXPLAIN_DEVICE") == 1
        assert "Traceback" not in service.output.read_text()
        assert httpx.post(f"{service.url}/classify", json={"text": "a film"}, timeout=60).status_code == 200
        assert service.process.poll() is None


def test_everything_is_explained_without_torch(tiny_store: Path, start: Path) -> None:
    """Which takes seconds and hundreds of megabytes to load, and is not there in every image."""
    compiled.require(KERNEL)
    start.write_text(f"{NOT_LAST}import sys\nsys.modules['torch'] = None\n")
    with serving(tiny_store, workers="1", precision="float32", timeout="120") as service:
        text = "A good film. A bad end."
        answer = explain(service, text, *KINDS, "aspects")
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["explanation"]["sentences"]) == 2
        check(answer.json(), text)
        assert service.metrics()['sentiment_process_restarts_total{role="explainer"}'] == 0


async def test_in_one_process(tiny_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The placement for development explains too."""
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    app = create_app(Settings(model_store=tiny_store, model="tiny", device="cpu"))
    async with app.router.lifespan_context(app), client_of(app) as client:
        async with asyncio.timeout(60):
            while (await client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
        answer = await client.post("/classify", json={"text": "a very good film", "explain": KINDS})
        check(answer.json(), "a very good film")
