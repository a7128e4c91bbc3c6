"""The application as it is composed for development: real checkpoint, real engine in the same process, lifespan run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY

from app import logs
from app.engine.interface import EngineInfo
from app.engine.ticket import Ticket
from app.errors import CheckpointError, EngineUnavailableError
from app.http.schemas import BatchResponse, SingleResponse
from app.main import create_app
from app.sentiment import TextBatch
from app.settings import Settings
from app.store import StoredModel
from tests.checkpoints import add_checkpoint
from tests.fakes import client_of
from tests.http.shapes import assert_problem, sample
from tests.inference_routes import inference_routes


@pytest.fixture(autouse=True)
def untouched_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application configures logging when it starts, which is not what is tested here."""
    monkeypatch.setattr(logs, "configure", lambda *_: None)


@pytest.fixture(scope="module")
def settings(tiny_store: Path) -> Settings:
    return Settings(model_store=tiny_store, model="tiny", device="cpu", precision="float32")


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the started application."""
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client


async def wait_ready(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(30):
        while (await client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 - an answer, not an event
            await asyncio.sleep(0.005)


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    async with running(create_app(settings)) as client:
        await wait_ready(client)
        yield client


async def test_answers_are_as_documented(client: httpx.AsyncClient) -> None:
    """Real predictions and errors fit the documented models exactly, in the order of the texts."""
    single = (await client.post("/classify", json={"text": "a very good film"})).json()
    assert SingleResponse.model_validate(single).model_dump(exclude_none=True) == single
    assert single["tokens"] == 4
    batch = (await client.post("/classify", json={"texts": ["dull", "", "a very good film", "dull plot " * 20]})).json()
    assert BatchResponse.model_validate(batch).model_dump(exclude_none=True) == batch
    dull, blank, good, long = batch["results"]
    assert blank["error"]["code"] == "blank_text"
    assert good["scores"] == pytest.approx(single["scores"], abs=1e-6)
    assert (good["cached"], dull["cached"]) == (True, False)
    assert (long["tokens"], long["truncated"], dull["truncated"]) == (40, True, False)


async def test_the_second_answer_is_cached_and_counted(client: httpx.AsyncClient) -> None:
    """Same scores, ``cached`` set, one hit more, nothing computed."""
    first = (await client.post("/classify", json={"text": "boring story"})).json()
    hits = sample("sentiment_cache_lookups_total", tier="memory", result="hit")
    computed = sample("sentiment_computed_texts_total")
    second = (await client.post("/classify", json={"text": "boring story"})).json()
    assert second == {**first, "cached": True}
    assert sample("sentiment_cache_lookups_total", tier="memory", result="hit") == hits + 1
    assert sample("sentiment_computed_texts_total") == computed


async def test_models_and_metrics_name_what_computes(client: httpx.AsyncClient, tiny_model: StoredModel) -> None:
    """Model, version, runtime, precision and device, the same in both places."""
    [entry] = (await client.get("/models")).json()["models"]
    assert (entry["model"], entry["version"], entry["served"]) == ("tiny", 1, True)
    labels = {name: str(entry[name]) for name in ("model", "version", "architecture", "runtime", "precision", "device")}
    assert sample("sentiment_model_info", **labels, digest=tiny_model.digest[:12]) == 1
    assert sample("sentiment_engine_ready", engine="0") == 1


async def test_a_text_fills_the_metrics_of_its_whole_way(client: httpx.AsyncClient) -> None:
    """Tokenizing, queue, batch, forward pass, outcome: each observes one text."""
    names = [
        "sentiment_tokenize_duration_seconds_count",
        "sentiment_text_tokens_count",
        "sentiment_unknown_token_ratio_count",
        "sentiment_queue_wait_seconds_count",
        "sentiment_batch_size_sum",
        "sentiment_inference_duration_seconds_count",
        "sentiment_computed_texts_total",
        "sentiment_truncated_texts_total",
        "sentiment_confidence_count",
    ]
    before = [sample(name) for name in names]
    label = (await client.post("/classify", json={"text": "a zebra in a slow film " * 10})).json()["label"]
    assert [sample(name) - earlier for name, earlier in zip(names, before, strict=True)] == [1] * len(names)
    assert sample("sentiment_predictions_total", label=label) >= 1


class ScriptedEngine:
    """An engine that starts when allowed to and computes nothing."""

    info = EngineInfo("scripted", "float32", "cpu")

    def __init__(self) -> None:
        self.allowed = asyncio.Event()
        self.ready = False
        self.closed = False
        self.futures: list[Ticket] = []

    async def start(self) -> None:
        await self.allowed.wait()
        self.ready = True

    async def close(self) -> None:
        self.closed = True

    def admit(self, texts: int, tokens: int) -> None: ...

    def drain_seconds(self, texts: int) -> float:
        return 1.0

    def expected_wait(self) -> float:
        return 0.0

    def submit(self, batch: TextBatch, deadline: float) -> Ticket:
        if not self.ready:
            raise EngineUnavailableError("the engine is starting", retry_after=1.0)
        ticket = Ticket()
        self.futures.append(ticket)
        return ticket


async def test_readiness_follows_the_engine(settings: Settings) -> None:
    """503 until the engine is up and when it is gone again; alive throughout; the engine is closed in the end."""
    engine = ScriptedEngine()
    async with running(create_app(settings, engine)) as client:
        assert_problem(await client.get("/health/ready"), 503, "engine_unavailable")
        assert_problem(await client.post("/classify", json={"text": "a"}), 503, "engine_unavailable")
        assert (await client.get("/health/live")).status_code == 200
        engine.allowed.set()
        await wait_ready(client)
        engine.ready = False
        assert_problem(await client.get("/health/ready"), 503, "engine_unavailable")
        assert (await client.get("/health/live")).json() == {"status": "ok"}
    assert engine.closed


@pytest.mark.parametrize("sent", ["60", None, "0.02"])
async def test_deadlines_are_capped_by_the_service(settings: Settings, sent: str | None) -> None:
    """A caller may ask for less time than the service's limit, not for more; then 504, and the text is given up."""
    engine = ScriptedEngine()
    engine.allowed.set()
    limited = settings.model_copy(update={"timeout": 0.1})
    async with running(create_app(limited, engine)) as client:
        await wait_ready(client)
        started = time.monotonic()
        response = await client.post(
            "/classify", json={"text": "never computed"}, headers={"X-Timeout-Seconds": sent} if sent else {}
        )
        assert_problem(response, 504, "deadline_exceeded")
        assert time.monotonic() - started < 30
    assert [future.cancelled() for future in engine.futures] == [True]


async def test_a_full_service_refuses_whole_requests(settings: Settings) -> None:
    """503 with Retry-After, and nothing of the request is begun."""
    engine = ScriptedEngine()
    engine.allowed.set()
    small = settings.model_copy(update={"max_queue": 3, "max_texts": 3})
    async with running(create_app(small, engine)) as client:
        await wait_ready(client)
        request = asyncio.create_task(client.post("/classify", json={"texts": ["a", "b"]}))
        while not engine.futures:  # noqa: ASYNC110 - a list, by the test's own engine
            await asyncio.sleep(0.001)
        assert_problem(await client.post("/classify", json={"texts": ["c", "d"]}), 503, "overloaded")
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
    assert len(engine.futures) == 1


async def test_a_gone_client_leaves_no_text_behind(settings: Settings) -> None:
    """The request is given up by its caller: so is its text in the engine, and no task stays."""
    engine = ScriptedEngine()
    engine.allowed.set()
    app = create_app(settings, engine)
    async with running(app) as client:
        await wait_ready(client)
        tasks = asyncio.all_tasks()
        request = asyncio.create_task(client.post("/classify", json={"text": "never computed"}))
        while not engine.futures:  # noqa: ASYNC110 - a list, by the test's own engine
            await asyncio.sleep(0.001)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        assert engine.futures[0].cancelled()
        assert {task for task in asyncio.all_tasks() if not task.done()} <= tasks


async def test_a_damaged_model_stops_the_start(settings: Settings, tmp_path: Path) -> None:
    """Nothing is served from a checkpoint that is not what was written; the message names the file."""
    weights = add_checkpoint(tmp_path).path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    damaged = settings.model_copy(update={"model_store": tmp_path})
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        async with running(create_app(damaged)):
            pass


def answered(route: str, kind: str, code: str) -> float:
    return sample("sentiment_request_duration_seconds_count", route=route, kind=kind, code=code)


@pytest.mark.parametrize(
    ("path", "body", "route", "kind", "code"),
    [
        ("/classify", {"text": "a good film"}, "/classify", "text", "2xx"),
        ("/classify", {"texts": ["a good film"]}, "/classify", "texts", "2xx"),
        ("/classify", {"text": "a good film", "explain": ["tokens"]}, "/classify", "explanation", "2xx"),
        ("/classify", {"text": " "}, "/classify", "text", "4xx"),
        ("/classify", {}, "/classify", "other", "4xx"),
        ("/predict", {"inputs": "a good film"}, "/predict", "text", "2xx"),
    ],
)
async def test_times_are_told_apart(
    client: httpx.AsyncClient, path: str, body: dict[str, object], route: str, kind: str, code: str
) -> None:
    """By what was asked for and by the class of the answer: an explanation takes a hundred times as long as a text."""
    before = answered(route, kind, code)
    await client.post(path, json=body)
    await asyncio.sleep(0)
    assert answered(route, kind, code) == before + 1


async def test_every_route_that_answers_texts_begins_at_nought(client: httpx.AsyncClient) -> None:
    """With all that may go wrong, before anything did: those are the POST operations of the document."""
    for route in inference_routes((await client.get("/openapi.json")).json()):
        for status in ("500", "503", "504"):
            labels = {"route": route, "method": "POST", "status": status}
            assert REGISTRY.get_sample_value("sentiment_requests_total", labels) is not None


async def test_nothing_is_padded_by_what_does_not_pad(client: httpx.AsyncClient) -> None:
    """The native runtime reads texts of unlike lengths as they are, and is not said to pad."""
    before = sample("sentiment_padding_ratio_sum"), sample("sentiment_padding_ratio_count")
    await client.post("/classify", json={"texts": ["a good film " * 20, "bad", "good film"]})
    assert sample("sentiment_padding_ratio_count") > before[1]
    assert sample("sentiment_padding_ratio_sum") == before[0]
