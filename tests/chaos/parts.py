"""What the chaos suite works with: texts with known answers, a running service, its processes and their memory."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.model.runtimes import load_predictor
from app.process.cores import resident_memory
from app.store import ModelStore
from app.text.tokenizer import load_tokenizer
from tests.chaos.client import Client, ClosedError
from tests.chaos.program import RATE_VARIABLE
from tests.service import START_LIMIT, Service, serving

WORDS = (
    "a an and the this that it is was not but very good bad great dull lovely awful film story cast plot ending never "
    "again watch loved hated boring brilliant slow funny sad I we they with of in on for don't 10 1 ! ? zebra naïve"
).split()


def reviews(count: int, seed: int = 0, longest: int = 60) -> list[str]:
    """Different texts of 1 to ``longest`` words, by chance."""
    chance = random.Random(seed)
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[" ".join(chance.choices(WORDS, k=chance.randint(1, longest))) + " film"] = None
    return list(texts)


def answers(store: Path, model: str, texts: Sequence[str]) -> dict[str, float]:
    """The probability of ``positive`` of every text, computed here and not by the service, in exact float32."""
    stored = ModelStore(store).open(model)
    tokenizer, predictor = load_tokenizer(stored), load_predictor(stored, "cpu", "auto", "float32", 1)
    at = stored.config.labels.index("positive")
    ids = [tokenizer.encode(text).ids for text in texts]
    found: list[float] = []
    for start in range(0, len(ids), 64):
        found += [scores.probabilities[at] for scores in predictor.predict(ids[start : start + 64])]
    return dict(zip(texts, found, strict=True))


@contextmanager
def chaotic(
    store: Path, model: str, rate: float | None = None, faults: Mapping[str, str] | None = None, **settings: str
) -> Iterator[Service]:
    """The service in exact float32, its forward pass slowed to ``rate`` texts per second where that is given.

    Args:
        store: of the models.
        model: what is served.
        rate: texts per second.
        faults: variables of ``tests.chaos.program``.
        settings: of the service.
    """
    variables = {**(faults or {}), **({} if rate is None else {RATE_VARIABLE: str(rate)})}
    os.environ.update(variables)
    try:
        program = ("-m", "tests.chaos.program") if variables else ("-m", "app")
        settings = {"precision": "float32", "workers": "2", **settings}
        with serving(store, model, program, **settings) as service:
            _wait_for_workers(service, int(settings["workers"]))
            yield service
    finally:
        for name in variables:
            del os.environ[name]


def _wait_for_workers(service: Service, workers: int) -> None:
    """Readiness is what one worker says; each says in the log that it has met the engine."""
    deadline = time.monotonic() + START_LIMIT
    while service.output.read_text().count('"logger": "app.main", "message": "serving ') < workers:
        assert time.monotonic() < deadline, service.output.read_text()
        time.sleep(0.05)


def memory(service: Service) -> dict[str, int]:
    """Bytes of memory of the service's processes, by role and in sum; of what several of them share, each its part."""
    roles = {"supervisor": [service.process.pid]}
    roles |= {role: service.children(role) for role in ("engine", "worker", "fork-server")}
    used = {role: resident_memory(pids) for role, pids in roles.items()}
    return {**used, "all": sum(used.values())}


async def allocated_blocks(pid: int, folder: Path) -> int:
    """Blocks of memory that Python's objects take in a process of ``tests.chaos.program``."""
    told = folder / str(pid)
    told.unlink(missing_ok=True)
    os.kill(pid, signal.SIGRTMIN)
    async with asyncio.timeout(60):
        while not told.exists():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.05)
    return int(told.read_text())


def cpu_seconds(service: Service) -> dict[str, float]:
    """Seconds of CPU that the service's processes have used, by role, and this process, which makes the load."""
    ticks = os.sysconf("SC_CLK_TCK")
    used = {
        role: sum(sum(map(int, _stat(pid)[11:13])) for pid in service.children(role)) / ticks
        for role in ("engine", "worker")
    }
    return {**used, "generator": time.process_time()}


def cores_used(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Cores in use on average between two readings of ``cpu_seconds``."""
    return {role: round((after[role] - before[role]) / seconds, 2) for role in before}


def _stat(pid: int) -> list[str]:
    # The program's name may hold anything, so fields count from the last parenthesis.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def descriptors(service: Service) -> int:
    """Open file descriptors of all processes of the service."""
    pids = [service.process.pid, *service.children("engine"), *service.children("worker")]
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)


async def value(service: Service, name: str) -> float:
    """One metric, summed over its labels, or one series of it, named as it is written."""
    client = Client(service.url)
    text = (await client.get("/metrics")).body.decode()
    client.close()
    return sum(map(float, re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)))


async def is_ready(client: Client) -> bool | None:
    """What readiness says; None where nobody says anything."""
    try:
        return (await client.get("/health/ready")).status == 200
    except (ClosedError, TimeoutError):
        return None


async def until_ready(service: Service, *, ready: bool, limit: float, pause: float = 0.02) -> float:
    """Wait until readiness is as asked for; how many seconds that took.

    Raises:
        AssertionError: longer than ``limit``.
    """
    started, client = time.monotonic(), Client(service.url)
    while await is_ready(client) is not ready:
        assert time.monotonic() - started < limit, f"readiness was not {ready} within {limit} s"
        await asyncio.sleep(pause)
    client.close()
    return time.monotonic() - started


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """Stop a process meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
