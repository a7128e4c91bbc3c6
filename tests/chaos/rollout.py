"""A version goes live under load, and comes back: every answer is of a version that was allowed at that moment.

Real processes, two versions with known answers, requests on new connections and on kept ones in turns, and ``kill -9``
of either engine at each step. And a guard that has to take a bad canary back.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from tests.chaos.client import Client, ClosedError, classify_request, post_request
from tests.chaos.parts import memory, value
from tests.service import Service

Figures = dict[str, Any]
Expected = Mapping[int, Mapping[str, float]]
"""The probability of ``positive`` of every text, by version."""
GRACE_SECONDS = 5.0
"""How long after an order the version before may answer: on kept connections, what was under way."""
TAKEN_BACK_SECONDS = 30.0
WAITED_SECONDS = 5.0
"""So long texts wait for an engine that was killed; then new ones are refused (503) until it is back."""
_TOLERANCE = 1e-5


@dataclass
class Answered:
    """One request: when it was due, how long it took, on what connection, and what became of it."""

    due: float
    seconds: float
    kept: bool
    kind: str
    version: int | None = None


@dataclass
class Allowed:
    """Which versions may answer, from when."""

    changes: list[tuple[float, frozenset[int]]] = field(default_factory=list)

    def become(self, *versions: int) -> None:
        """From now on these, and for a moment those before."""
        self.changes.append((time.monotonic(), frozenset(versions)))

    def at(self, began: float, ended: float) -> set[int]:
        """Those that may answer a request that was under way then."""
        found: set[int] = set()
        for number, (since, versions) in enumerate(self.changes):
            later = self.changes[number + 1][0] if number + 1 < len(self.changes) else math.inf
            if since <= ended and began <= later + GRACE_SECONDS:
                found |= versions
        return found


class Traffic:
    """A steady load whose answers are held against all versions; no more than so many requests are under way.

    Args:
        url: address of the service.
        expected: what each version answers.
        rate: requests per second.
        key: an API key.
        texts: sent; those that all versions know.
    """

    def __init__(self, url: str, expected: Expected, rate: float, key: str, texts: Sequence[str] | None = None) -> None:
        self.answers: list[Answered] = []
        self.allowed = Allowed()
        self.away: list[tuple[float, float]] = []
        """When the engine of what is served was away for longer than it is waited for, and new texts are refused."""
        self._url = url
        self._client = Client(url)
        self._expected = expected
        self._rate = rate
        self._key = f"Authorization: Bearer {key}"
        self._texts = list(texts or next(iter(expected.values())))
        self._chance = random.Random(0)
        self._most = asyncio.Semaphore(1000)
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        assert self._task is not None
        await self._task
        self._client.close()

    async def _run(self) -> None:
        started, asking, number = time.monotonic(), set(), 0
        while not self._stop.is_set():
            due = started + number / self._rate
            if (pause := due - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            await self._most.acquire()
            task = asyncio.create_task(self._ask(due, self._chance.choice(self._texts), kept=number % 2 == 0))
            asking.add(task)
            task.add_done_callback(asking.discard)
            number += 1
        await asyncio.gather(*asking)

    async def _ask(self, due: float, text: str, *, kept: bool) -> None:
        headers = [self._key, *([] if kept else ["Connection: close"])]
        client = self._client if kept else Client(self._url)
        version = None
        try:
            answer = await client.send(classify_request({"text": text}, *headers))
            kind, version = self._judged(text, answer.status, answer.body)
        except ClosedError:
            kind = "closed"
        except TimeoutError:
            kind = "no answer"
        finally:
            self._most.release()
            if not kept:
                client.close()
        self.answers.append(Answered(due, time.monotonic() - due, kept, kind, version))

    def _judged(self, text: str, status: int, body: bytes) -> tuple[str, int | None]:
        if status != 200:
            return f"status {status}", None
        found = json.loads(body)
        version = int(found["version"])
        expected = self._expected.get(version, {}).get(text, math.nan)
        right = abs(found["scores"]["positive"] - expected) < _TOLERANCE
        return "right" if right else "wrong", version

    def faults(self) -> Counter[str]:
        """Answers that are not right, or not of a version that was allowed, by what is wrong."""
        found: Counter[str] = Counter()
        for one in self.answers:
            if one.kind == "status 503" and any(began <= one.due <= ended for began, ended in self.away):
                continue
            if one.kind != "right":
                found[one.kind] += 1
            elif one.version not in self.allowed.at(one.due, one.due + one.seconds):
                found[f"version {one.version} when it was not allowed"] += 1
        return found

    def p99(self, since: float, until: float) -> float:
        """Of requests that were due in that time, in milliseconds."""
        seconds = sorted(one.seconds for one in self.answers if since <= one.due < until)
        return round(1000 * seconds[int(0.99 * len(seconds))], 1) if seconds else math.nan


class Operator:
    """Orders roll-outs, with a key of the scope admin.

    Args:
        service: the service.
        key: of both scopes.
        model: name of the model.
    """

    def __init__(self, service: Service, key: str, model: str) -> None:
        self._service = service
        self._model = model
        self._key = f"Authorization: Bearer {key}"
        # The same light client as the traffic's, in whose way nothing is to be.
        self._client = Client(service.url)

    def close(self) -> None:
        """Ask no more."""
        self._client.close()

    async def order(self, order: str, version: int, percent: float | None = None) -> float:
        """Have something done with a version; how many seconds that took."""
        started, document = time.monotonic(), b"" if percent is None else {"percent": percent}
        request = post_request(f"/admin/models/{self._model}/{version}/{order}", document, self._key)
        answer = await self._client.send(request)
        assert answer.status == 200, answer.body
        return time.monotonic() - started

    async def shown(self) -> Any:
        """What is served and loaded, and the last orders."""
        return json.loads((await self._client.get("/admin/models", self._key)).body)

    async def engines(self) -> dict[int, int]:
        """Process id of each version's engine; of several the first, for which the others stand in."""
        shown = await self.shown()
        digests = {it["digest"]: it["version"] for it in (shown["served"], *shown["beside"])}
        lines = sorted(((line, pid) for pid, line in self._service.commands("engine").items()), reverse=True)
        return {version: pid for digest, version in digests.items() for line, pid in lines if digest in line}

    async def kill(self, version: int) -> None:
        """``kill -9`` to a version's engine; returns when another one answers."""
        before = (await self.engines())[version]
        os.kill(before, signal.SIGKILL)
        await until(lambda: self._again(version, before), "the engine never came back")

    async def _again(self, version: int, before: int) -> bool:
        if (await self.engines()).get(version, before) == before:
            return False
        named = {"text": "a film", "model": f"{self._model}/{version}"}
        return (await self._client.send(classify_request(named, self._key))).status == 200


class _Step(NamedTuple):
    """One order and the kills after it. What it did is worked out at the end: that would hold the traffic up.

    Attributes:
        name: of the step.
        began: when it was ordered.
        ended: when its last kill was over.
        took: seconds until the order was answered.
        kills: seconds until each killed engine was back.
    """

    name: str
    began: float
    ended: float
    took: float
    kills: dict[str, float]

    def figures(self, traffic: Traffic) -> Figures:
        """What became of the requests meanwhile."""
        answers = [one for one in traffic.answers if self.began <= one.due < self.ended]
        return {
            "order, s": round(self.took, 1),
            "engine back after its kill, s": self.kills,
            "answers by version": dict(sorted(Counter(one.version for one in answers if one.version).items())),
            "p99, ms": traffic.p99(self.began, self.ended),
            "slowest, s": round(max((one.seconds for one in answers), default=math.nan), 2),
        }


async def until(condition: Callable[[], Awaitable[object]], what: str, limit: float = 120.0) -> float:
    """Wait for something; how many seconds that took."""
    started = time.monotonic()
    while not await condition():
        assert time.monotonic() - started < limit, what
        await asyncio.sleep(0.1)
    return time.monotonic() - started


async def rollout(
    service: Service, model: str, expected: Expected, key: str, *, rate: float, quiet: float, pause: float
) -> Figures:
    """Load, canary 10 %, 50 %, promote and roll back, either engine killed at each step.

    Args:
        service: serves the first of the versions, with an API key and without a cache.
        model: name of the model.
        expected: two versions, and what they answer.
        key: of the scopes classify and admin.
        rate: requests per second.
        quiet: seconds before anything happens.
        pause: seconds after each step and each kill.
    """
    first, second = expected
    operator, traffic = Operator(service, key, model), Traffic(service.url, expected, rate, key)
    steps: list[_Step] = []
    traffic.allowed.become(first)

    async def step(name: str, order: str, version: int, percent: float | None, *allowed: int) -> None:
        traffic.allowed.become(first, second)
        began = time.monotonic()
        took = await operator.order(order, version, percent)
        traffic.allowed.become(*allowed)
        await asyncio.sleep(pause)
        kills: dict[str, float] = {}
        served = (await operator.shown())["served"]["version"]
        for killed in sorted(await operator.engines()):
            moment = time.monotonic()
            await operator.kill(killed)
            back = time.monotonic() - moment
            if killed == served and back > WAITED_SECONDS:
                traffic.away.append((moment, moment + back + 1.0))
            kills[f"version {killed}"] = round(back, 1)
            await asyncio.sleep(pause)
        steps.append(_Step(name, began, time.monotonic(), took, kills))

    try:
        await operator.shown()  # the first request imports for a while
        async with traffic:
            started = time.monotonic()
            await asyncio.sleep(quiet)
            changes = time.monotonic()
            one_model = (await asyncio.to_thread(memory, service))["all"]
            await step("load", "load-beside", second, None, first)
            two_models = (await asyncio.to_thread(memory, service))["all"]
            await step("canary 10 %", "canary", second, 10, first, second)
            await step("canary 50 %", "canary", second, 50, first, second)
            await step("promote", "load", second, None, second)
            await step("roll back", "load", first, None, first)
            ended = time.monotonic()
    finally:
        operator.close()
    slowest = max(traffic.answers, key=lambda one: one.seconds)
    refused = sum(one.kind == "status 503" for one in traffic.answers)
    during, before = traffic.p99(changes, ended), traffic.p99(started, changes)
    figures = {
        "requests": len(traffic.answers),
        "on kept connections": sum(one.kept for one in traffic.answers),
        "faults": dict(traffic.faults()),
        "refused while the engine was away for more than 5 s": refused,
        "slowest": f"{slowest.seconds:.2f} s, version {slowest.version}, {slowest.due - started:.1f} s after the start",
        "p99 quiet, ms": before,
        "p99 during, ms": during,
        "from load to live, s": round(steps[0].took, 1),
        "memory with one model and with two, MB": [round(one_model / 1e6), round(two_models / 1e6)],
        "steps": {step.name: step.figures(traffic) for step in steps},
        "targets": {
            "every request answered 200": not refused,
            "p99 during at most 1.5 times the quiet one": during <= 1.5 * before,
        },
    }
    assert not traffic.faults(), figures
    return figures


async def bad_canary(
    service: Service, model: str, expected: Expected, key: str, *, rate: float, seconds: float, texts: Sequence[str]
) -> Figures:
    """A canary that is slow, or whose engine ends on some of the texts: the guard takes it back, and nobody notices.

    Args:
        service: as for ``rollout``; its program makes the second version bad.
        model: name of the model.
        expected: likewise.
        key: likewise.
        rate: requests per second.
        seconds: of quiet before, and after.
        texts: sent.
    """
    first, second = expected
    operator, traffic = Operator(service, key, model), Traffic(service.url, expected, rate, key, texts)
    traffic.allowed.become(first)

    async def taken_back() -> bool:
        # By then all workers know; that there is no canary any more is said before.
        return bool((await operator.shown())["attempts"][0]["outcome"] == "taken back")

    try:
        async with traffic:
            started = time.monotonic()
            await operator.order("load-beside", second)
            await asyncio.sleep(seconds)
            began = time.monotonic()
            traffic.allowed.become(first, second)
            await operator.order("canary", second, 50)
            took = await until(taken_back, "the guard never took it back")
            ended = time.monotonic()
            traffic.allowed.become(first)
            await asyncio.sleep(seconds)
        order = next(it for it in (await operator.shown())["attempts"] if it["by"] == "guard")
    finally:
        operator.close()
    figures = {
        "requests": len(traffic.answers),
        "faults": dict(traffic.faults()),
        "taken back after, s": round(took, 1),
        "why": order["reason"],
        "answers by version": dict(Counter(one.version for one in traffic.answers)),
        "slowest, s": round(max(one.seconds for one in traffic.answers), 2),
        "p99 before, with the canary, after, ms": [
            traffic.p99(started, began),
            traffic.p99(began, ended),
            traffic.p99(ended, math.inf),
        ],
        "targets": {"taken back in 30 s": took < TAKEN_BACK_SECONDS},
    }
    assert not traffic.faults(), figures
    return figures


async def shadowed(
    service: Service, model: str, expected: Expected, key: str, *, rate: float, seconds: float, rounds: int
) -> Figures:
    """The same load without a shadow and with one of 100 %, in turns: the answers' times, and what was dropped.

    Args:
        service: as for ``rollout``.
        model: name of the model.
        expected: likewise; the second version is the shadow.
        key: likewise.
        rate: requests per second: 0.8 of what the service can do.
        seconds: of each half of a round.
        rounds: how many.
    """
    first, second = expected
    operator, traffic = Operator(service, key, model), Traffic(service.url, expected, rate, key)
    traffic.allowed.become(first)
    found: dict[int, list[float]] = {0: [], 100: []}
    try:
        await operator.order("load-beside", second)
        async with traffic:
            await asyncio.sleep(min(5.0, seconds))
            for number in range(rounds):
                for percent in (0, 100) if number % 2 == 0 else (100, 0):
                    await operator.order("shadow", second, percent)
                    began = time.monotonic()
                    await asyncio.sleep(seconds)
                    found[percent].append(traffic.p99(began, began + seconds))
        pair = f'against="{model}/{first}",model="{model}",outcome="{{}}",version="{second}"'
        outcomes = {
            outcome: await value(service, f"sentiment_shadow_texts_total{{{pair.format(outcome)}}}")
            for outcome in ("compared", "dropped_late", "dropped_full", "failed")
        }
    finally:
        operator.close()
    without, with_it = (sorted(found[percent])[len(found[percent]) // 2] for percent in (0, 100))
    figures = {
        "requests per second": rate,
        "faults": dict(traffic.faults()),
        "p99 without, ms": found[0],
        "p99 with a shadow of 100 %, ms": found[100],
        "medians of the rounds, ms": [without, with_it],
        "texts of the shadow": outcomes,
        "targets": {"p99 within 1.2 times": with_it <= 1.2 * without},
    }
    assert not traffic.faults(), figures
    assert outcomes["compared"], figures
    return figures
