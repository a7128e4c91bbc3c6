"""Worker and explainer over a real Unix socket: answers, errors, lost interest, and an explainer that dies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app import metrics
from app.engine.interface import ServedModel
from app.errors import DeadlineError, ExplainerUnavailableError, InferenceError, OverloadedError
from app.process.sockets import bind_local
from app.serving.explainer_link import ExplainerServer, RemoteExplainer
from app.serving.explanations import LocalExplainer
from tests.serving.test_explanations import HandComputer, request_of
from tests.waiting import LIMIT, until

MODEL = ServedModel("tiny/1", "0123456789abcdef")


@asynccontextmanager
async def explaining(path: Path, computer: HandComputer, max_waiting: int = 10) -> AsyncIterator[ExplainerServer]:
    server = ExplainerServer(LocalExplainer(lambda: computer, max_waiting), MODEL)
    await server.serve(bind_local(path))
    try:
        yield server
    finally:
        computer.gate.set()
        await server.close()


async def test_answers_and_errors_travel(tmp_path: Path) -> None:
    """Parts as they were computed, errors as errors with what they say; any text."""
    path, computer = tmp_path / "s", HandComputer()
    computer.gate.set()
    remote = RemoteExplainer(path, 10, MODEL)
    async with explaining(path, computer) as server:
        text = "\U0001f600 e\u0301"
        parts = await remote.explain(request_of(text, "curve", "tokens"))
        assert parts["curve"] == f'"curve":["{text}",1]'.encode()
        assert list(parts) == ["curve", "tokens"]
        with pytest.raises(InferenceError, match="failed for this text"):
            await remote.explain(request_of("broken"))
        await until(lambda: not server.busy)
    await remote.close()


async def test_it_is_warmed_once(tmp_path: Path) -> None:
    """Whatever is slow with the first text is done before it comes, in the background; nobody hears of an explainer
    that is not there."""
    path, computer = tmp_path / "s", HandComputer()
    remote = RemoteExplainer(path, 10, MODEL)
    async with explaining(path, computer) as server:
        remote.warm()
        remote.warm()
        computer.gate.set()
        await until(lambda: bool(computer.finished) and not server.busy)
        assert len(computer.finished) == 1
    await remote.close()
    path.unlink(missing_ok=True)
    gone = RemoteExplainer(path, 10, MODEL)
    gone.warm()
    await gone.close()


async def test_a_question_about_another_model_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is computed, whoever asked gets the error of an explainer that is gone, log and metric say why."""
    path, computer = tmp_path / "s", HandComputer()
    counted = metrics.MODEL_MISMATCHES.labels("explainer")._value
    before = counted.get()
    async with explaining(path, computer):
        with pytest.raises(ExplainerUnavailableError) as refused:
            await RemoteExplainer(path, 1, ServedModel("tiny/2", "fedcba9876543210")).explain(request_of())
    assert "tiny" not in str(refused.value)
    assert computer.finished == []
    assert counted.get() == before + 1
    [said] = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert "tiny/2 (fedcba987654)" in said
    assert "tiny/1 (0123456789ab)" in said


async def test_bounds_of_worker_and_explainer(tmp_path: Path) -> None:
    """The explainer's holds for all workers together, the worker's also while there is no explainer."""
    path, computer = tmp_path / "s", HandComputer()
    one, two = RemoteExplainer(path, 2, MODEL), RemoteExplainer(path, 2, MODEL)
    async with explaining(path, computer, max_waiting=3) as server:
        waiting = [asyncio.ensure_future(one.explain(request_of(name))) for name in "ab"]
        with pytest.raises(OverloadedError):
            await asyncio.gather(asyncio.sleep(0), one.explain(request_of("c")))
        waiting.append(asyncio.ensure_future(two.explain(request_of("d"))))
        await until(lambda: server._explainer.waiting == 3)
        with pytest.raises(OverloadedError) as refused:
            await two.explain(request_of("e"))
        assert refused.value.retry_after is not None
        computer.gate.set()
        assert len(await asyncio.gather(*waiting)) == 3


async def test_lost_interest_travels(tmp_path: Path) -> None:
    """A worker that gives up stops the work."""
    path, computer = tmp_path / "s", HandComputer()
    remote = RemoteExplainer(path, 10, MODEL)
    async with explaining(path, computer):
        first = asyncio.ensure_future(remote.explain(request_of("a")))
        second = asyncio.ensure_future(remote.explain(request_of("b")))
        await until(lambda: computer.running)
        first.cancel()
        await until(lambda: computer.stopped)
        computer.gate.set()
        await second


async def test_deadlines_hold_without_an_explainer(tmp_path: Path) -> None:
    """Connections wait where the supervisor listens, until the deadline."""
    path = tmp_path / "s"
    with bind_local(path), pytest.raises(DeadlineError):
        await RemoteExplainer(path, 1, MODEL).explain(request_of(deadline=time.monotonic() + 0.2))
    with pytest.raises(ExplainerUnavailableError):
        await RemoteExplainer(tmp_path / "none", 1, MODEL).explain(request_of(deadline=time.monotonic() + 5))


async def test_a_text_is_sent_once_more_when_the_explainer_dies(tmp_path: Path) -> None:
    """A text on which two die is given up; otherwise the next process answers it."""
    path, connections = tmp_path / "s", 0
    computer = HandComputer()
    computer.gate.set()
    listener = bind_local(path)
    server = ExplainerServer(LocalExplainer(lambda: computer, 1), MODEL)

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read(4)
        if connections == 3:
            dying.close()
            await server.serve(listener)
        writer.transport.abort()

    dying = await asyncio.start_unix_server(die, sock=listener.dup())
    remote = RemoteExplainer(path, 1, MODEL)
    with pytest.raises(ExplainerUnavailableError):
        await remote.explain(request_of(deadline=time.monotonic() + LIMIT))
    assert connections == 2
    assert await remote.explain(request_of(deadline=time.monotonic() + LIMIT))
    assert (connections, computer.finished) == (3, ["a"])
    await server.close()
