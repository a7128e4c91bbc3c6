"""A soak: mixed load for long, and whether memory and file descriptors grow meanwhile."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from scipy import stats

from tests.chaos.client import Client, ClosedError, classify_request, judge
from tests.chaos.parts import descriptors, memory
from tests.service import Service

SAMPLE_SECONDS = 5.0
QUARTERS = 4
"""After each quarter all clients leave for a moment."""
WARM_SHARE = 1 / QUARTERS
"""Share of the soak in which caches fill, arenas grow and nothing is judged."""
WARM_UP_RATE = 8
"""Requests of the warm-up for each of the soak, per second."""
BLOCK_SECONDS = 60.0
"""Samples of such a time become one, their median: memory moves in steps, so samples close to each other tell the same
thing again, and an interval that took them for independent would be too narrow."""
DRIFT_PER_HOUR = 0.01
"""Growth that counts as flat though it is certain, as a share of what there is: docs/reliability.md says why."""
REDIS_LINKS = 2
"""Connections of a worker to Redis: one for reads and one for writes."""
_SETTLE_SECONDS = 3.0
"""In which the service notices that clients are gone."""

KINDS = {"single": 70, "several": 12, "bad": 6, "leave": 6, "scrape": 1, "hasty": 5}
"""Kinds of requests, and how many of a hundred are of each."""

_BAD = (b"{", b'{"text": 1}', b'{"text": ""}', b'{"texts": []}', b'{"text": "a", "more": 1}')


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth per hour by Theil and Sen, with its interval of 95 % confidence, and the median it grows from."""

    median: float
    per_hour: float
    low: float
    high: float

    @property
    def bound(self) -> float:
        """Growth per hour that is allowed."""
        return DRIFT_PER_HOUR * self.median

    @property
    def flat(self) -> bool:
        """Whether there may be no growth at all, or what there is certainly keeps below the bound."""
        return bool(self.low <= 0 or self.high < self.bound)


def blocks(samples: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Medians of the samples of each ``BLOCK_SECONDS``."""
    found: dict[int, list[tuple[float, float]]] = {}
    for at, value in samples:
        found.setdefault(int(at // BLOCK_SECONDS), []).append((at, value))
    return [(median(at for at, _ in block), median(value for _, value in block)) for block in found.values()]


def slope(samples: list[tuple[float, float]]) -> Slope:
    """The slope of samples of (seconds, value)."""
    seconds, values = zip(*blocks(samples), strict=True)
    fitted = stats.theilslopes(values, seconds, 0.95)
    hour = 3600.0
    return Slope(
        median(values),
        *(float(per_second) * hour for per_second in (fitted.slope, fitted.low_slope, fitted.high_slope)),
    )


def none_kept(idle: Sequence[int], links: int = 0) -> bool:
    """Whether descriptors counted without clients fall, stay or bounce: the last count is not above all before.

    Args:
        idle: the counts.
        links: connections that the service opens when it needs them, closes when a call fails, and keeps: those to
            Redis. Any of them may be open at one count and not at another.
    """
    return idle[-1] <= max(idle[:-1]) + links


class Soak:
    """Clients of all kinds against one service.

    Args:
        service: a running service.
        known: probability of ``positive`` of every text.
        rate: requests per second.
        seed: of what they ask for.
    """

    def __init__(self, service: Service, known: Mapping[str, float], rate: float, seed: int = 0) -> None:
        self.outcomes: Counter[str] = Counter()
        self.samples: list[tuple[float, dict[str, int]]] = []
        self.idle_descriptors: list[int] = []
        """Open files without any client, after each quarter."""
        self._service = service
        self._known = list(known.items())
        self._rate = rate
        self._chance = random.Random(seed)
        self._client = Client(service.url)

    async def warm_up(self, seconds: float) -> None:
        """Ask for the same, unobserved and far more of it: allocators come to rest after requests, not after time."""
        await self._ask_for(seconds, WARM_UP_RATE * self._rate)
        await self.leave()

    async def run(self, seconds: float) -> None:
        """Ask for so long, and look at memory and descriptors meanwhile, also while there are no clients."""
        sampling = asyncio.create_task(self._sample())
        for _ in range(QUARTERS):
            await self._ask_for(seconds / QUARTERS, self._rate)
            await self.leave()
            self.idle_descriptors.append(descriptors(self._service))
        sampling.cancel()

    async def leave(self) -> None:
        """Close all connections, and wait until the service knows."""
        self._client.close()
        await asyncio.sleep(_SETTLE_SECONDS)

    async def _ask_for(self, seconds: float, rate: float) -> None:
        started, asking = time.monotonic(), set()
        for number in range(int(rate * seconds)):
            if (pause := started + number / rate - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            [kind] = self._chance.choices(list(KINDS), list(KINDS.values()))
            task = asyncio.create_task(self.ask(kind))
            asking.add(task)
            task.add_done_callback(asking.discard)
        await asyncio.gather(*asking)

    def course(self, name: str) -> list[float]:
        """What was measured, by the minute."""
        return [value for _, value in blocks([(at, values[name]) for at, values in self.samples])]

    def slopes(self) -> dict[str, Slope]:
        """Slopes after the warm-up, by what was measured."""
        kept = self.samples[int(len(self.samples) * WARM_SHARE) :]
        return {name: slope([(at, values[name]) for at, values in kept]) for name in kept[0][1]}

    def verdict(self) -> dict[str, bool]:
        """What must be true of a service that keeps nothing."""
        flat = {f"{name} flat": found.flat for name, found in self.slopes().items()}
        return {**flat, "no descriptor kept": self.none_kept()}

    def none_kept(self) -> bool:
        """Whether the service keeps no descriptors, its connections to Redis aside."""
        return none_kept(self.idle_descriptors, REDIS_LINKS * len(self._service.children("worker")))

    async def _sample(self) -> None:
        started = time.monotonic()
        while True:
            found = {**memory(self._service), "descriptors": descriptors(self._service)}
            self.samples.append((time.monotonic() - started, found))
            await asyncio.sleep(SAMPLE_SECONDS)

    async def ask(self, kind: str) -> None:
        """One request of a kind, and what became of it into ``outcomes``."""
        asking: Callable[[], Awaitable[str]] = getattr(self, f"_{kind}")
        try:
            outcome = await asking()
        except ClosedError:
            outcome = "closed"
        except TimeoutError:
            outcome = "no answer"
        self.outcomes[outcome] += 1

    async def _single(self) -> str:
        text, expected = self._chance.choice(self._known)
        return judge(await self._client.send(classify_request({"text": text})), [expected])

    async def _several(self) -> str:
        chosen = self._chance.choices(self._known, k=self._chance.randint(2, 20))
        answer = await self._client.send(classify_request({"texts": [text for text, _ in chosen]}))
        return judge(answer, [expected for _, expected in chosen])

    async def _bad(self) -> str:
        body = self._chance.choice(_BAD)
        head = f"POST /classify HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = await self._client.send(head.encode() + body)
        return "refused as bad" if answer.status == 422 else f"status {answer.status}"

    async def _leave(self) -> str:
        connection = await self._client.connect()
        assert connection.transport is not None
        connection.transport.write(classify_request({"text": self._chance.choice(self._known)[0]}))
        await asyncio.sleep(self._chance.uniform(0, 0.01))
        if connection.transport is not None:
            connection.transport.abort()
        return "left"

    async def _scrape(self) -> str:
        path = self._chance.choice(("/metrics", "/health/ready", "/models", "/nowhere"))
        answer = await self._client.get(path)
        return "other" if answer.status == (404 if path == "/nowhere" else 200) else f"{path} {answer.status}"

    async def _hasty(self) -> str:
        text, expected = self._chance.choice(self._known)
        answer = await self._client.send(classify_request({"text": text}, "X-Timeout-Seconds: 0.003"))
        return judge(answer, [expected])
