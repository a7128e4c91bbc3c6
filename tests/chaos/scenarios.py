"""What an operator may do to the service, under load.

Each scenario returns its figures, and raises an ``AssertionError`` where a request was answered wrongly or not at all.
``targets`` among the figures says which times and shares were reached: they depend on the machine, and on what else it
does.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.chaos.client import Client, ClosedError, Connection, Load, Outcome, classify_request, count, judge, quantile
from tests.chaos.parts import chaotic, cores_used, cpu_seconds, memory, paused, until_ready, value
from tests.redis_server import RedisServer
from tests.service import Service

Figures = dict[str, Any]
GENEROUS = 30.0
"""Seconds after which something is taken for broken on any machine."""
ADMITTED = {"right"}
_WHO_LEAVE = 50
HONEST = {"right", "refused 429", "refused 503", "refused 504"}


async def overload(
    service: Service, known: Mapping[str, float], *, capacity: float, offered: float, seconds: float, max_wait: float
) -> Figures:
    """More texts than the engine computes, for so long: goodput, latency of what was admitted, memory afterwards."""
    await Load(service.url, known, capacity / 2).run(min(5.0, seconds / 3))
    before, warm = memory(service), Load(service.url, known, offered, seed=1)
    await warm.run(min(5.0, seconds / 3))
    settled, load = memory(service), Load(service.url, known, offered, seed=2)
    started = time.monotonic()
    await load.run(seconds)
    await asyncio.sleep(1)
    after = memory(service)
    kinds = count(load.outcomes)
    good = sum(o.kind == "right" and o.due + o.seconds <= started + seconds for o in load.outcomes)
    advice = sorted(o.retry_after for o in load.outcomes if o.retry_after is not None)
    figures = {
        "offered per second": offered,
        "outcomes": dict(kinds),
        "goodput per second": good / seconds,
        "p50 of admitted, s": quantile(load.outcomes, 0.5),
        "p99 of admitted, s": quantile(load.outcomes, 0.99),
        "p99 of refusals, s": quantile(load.outcomes, 0.99, "refused 503"),
        "Retry-After, median and largest, s": (advice[len(advice) // 2], advice[-1]) if advice else None,
        "memory before any overload, before, after, MB": [round(m["all"] / 1e6) for m in (before, settled, after)],
        "targets": {
            "goodput at least 0.85 of the capacity": good / seconds >= 0.85 * capacity,
            "p99 of admitted at most twice the longest wait": quantile(load.outcomes, 0.99) <= 2 * max_wait,
            "memory back to within a tenth": after["all"] <= 1.1 * settled["all"],
        },
    }
    assert set(kinds) == {"right", "refused 503"}, figures
    assert advice, figures
    return figures


async def capacity_of(
    service: Service, known: Mapping[str, float], *, size: int, clients: int, seconds: float
) -> float:
    """Texts per second that a closed loop gets computed."""
    chance, done, until = random.Random(0), 0, time.monotonic() + seconds
    client, texts = Client(service.url), list(known)

    async def ask() -> None:
        nonlocal done
        while time.monotonic() < until:
            answer = await client.send(classify_request({"texts": chance.choices(texts, k=size)}))
            done += size if answer.status == 200 else 0

    await asyncio.gather(*(ask() for _ in range(clients)))
    client.close()
    return done / seconds


async def real_overload(service: Service, known: Mapping[str, float], *, seconds: float, size: int = 16) -> Figures:
    """Three times what the engine computes: measured, then offered in requests of several texts."""
    closed, idle = min(10.0, seconds), cpu_seconds(service)
    capacity = await capacity_of(service, known, size=size, clients=16, seconds=closed)
    load = Load(service.url, known, 3 * capacity / size, size=size)
    started, before = time.monotonic(), cpu_seconds(service)
    await load.run(seconds)
    after, took = cpu_seconds(service), time.monotonic() - started
    kinds = count(load.outcomes)
    good = size * sum(o.kind == "right" and o.due + o.seconds <= started + seconds for o in load.outcomes)
    figures = {
        "capacity, texts per second": capacity,
        "offered, texts per second": 3 * capacity,
        "outcomes": dict(kinds),
        "goodput, texts per second": good / seconds,
        "p50 of admitted, s": quantile(load.outcomes, 0.5),
        "p99 of admitted, s": quantile(load.outcomes, 0.99),
        "p99 of refusals, s": quantile(load.outcomes, 0.99, "refused 503"),
        "cores in the closed loop": cores_used(idle, before, closed),
        "cores under overload": cores_used(before, after, took),
        "targets": {"goodput at least 0.8 of the capacity": good / seconds >= 0.8 * capacity},
    }
    assert set(kinds) <= HONEST, figures
    return figures


async def hang(service: Service, known: Mapping[str, float], *, rate: float) -> Figures:
    """The engine stopped, not ended, under load: readiness, and what the supervisor makes of it."""
    load, [engine] = Load(service.url, known, rate), service.children("engine")
    running = asyncio.create_task(load.run(18))
    await asyncio.sleep(2)
    os.kill(engine, signal.SIGSTOP)
    unready = await until_ready(service, ready=False, limit=GENEROUS)
    recovered = await until_ready(service, ready=True, limit=2 * GENEROUS)
    await running
    kinds = count(load.outcomes)
    figures = {
        "outcomes": dict(kinds),
        "readiness 503 after, s": unready,
        "ready again after, s": unready + recovered,
        "slowest answer, s": max(outcome.seconds for outcome in load.outcomes),
        "targets": {"readiness 503 within 2 s": unready < 2},
    }
    assert service.children("engine") != [engine], figures
    assert set(kinds) <= HONEST, figures
    return figures


async def kill(
    service: Service, known: Mapping[str, float], role: str, *, times: int, rate: float, pause: float
) -> Figures:
    """``kill -9`` to an engine or an HTTP worker, again and again under load. One engine of several nobody may miss."""
    load, chance = Load(service.url, known, rate), random.Random(0)
    running = asyncio.create_task(load.run(times * pause + pause))
    kills: list[float] = []
    unready, recovered = [], []
    for _ in range(times):
        await asyncio.sleep(max(0.0, pause - (time.monotonic() - kills[-1] if kills else 0.0)))
        before = service.children(role)
        kills.append(time.monotonic())
        os.kill(chance.choice(before), signal.SIGKILL)
        if role == "engine" and len(before) == 1:
            unready.append(await until_ready(service, ready=False, limit=GENEROUS))
        while len(found := service.children(role)) < len(before) or set(found) == set(before):
            await asyncio.sleep(0.02)
            assert time.monotonic() - kills[-1] < GENEROUS, "not replaced"
        while role == "engine" and await value(service, "sentiment_engine_ready") < len(before):
            await asyncio.sleep(0.02)
            assert time.monotonic() - kills[-1] < GENEROUS, "not ready again"
        await until_ready(service, ready=True, limit=GENEROUS)
        recovered.append(time.monotonic() - kills[-1])
    await running
    kinds = count(load.outcomes)
    figures = {
        "kills": times,
        "requests": len(load.outcomes),
        "outcomes": dict(kinds),
        "right, share": kinds["right"] / len(load.outcomes),
        "slowest right answer, s": quantile(load.outcomes, 1.0),
        "readiness 503 after, s, slowest": max(unready, default=None),
        "recovery, s, median and slowest": (sorted(recovered)[times // 2], max(recovered)),
        "targets": {
            "at least 99 % right": kinds["right"] >= 0.99 * len(load.outcomes),
            "readiness 503 within 2 s": max(unready, default=0.0) < 2,
            "recovered within 5 s": max(recovered) < 5,
        },
    }
    if role == "engine":
        assert set(kinds) <= {"right", "refused 503"} if unready else set(kinds) == {"right"}, figures
    else:
        assert set(kinds) <= {"right", "closed"}, figures
        assert _only_at(kills, [o for o in load.outcomes if o.kind == "closed"]), figures
    return figures


def _only_at(moments: Sequence[float], outcomes: Sequence[Outcome], tolerance: float = 0.5) -> bool:
    """Whether each outcome's request was under way at one of the moments."""
    return all(any(o.due - tolerance <= at <= o.due + o.seconds + tolerance for at in moments) for o in outcomes)


async def redis_faults(
    store: Path, model: str, known: Mapping[str, float], redis: RedisServer, *, rate: float, seconds: float
) -> Figures:
    """Redis killed, paused and restarted; beside it, for comparison, a service without a cache under the same load."""
    shared = chaotic(store, model, cache_size="1", redis_url=redis.url, workers="1")
    bare = chaotic(store, model, cache="off", workers="1")
    figures: Figures = {}
    with shared as service, bare as reference:

        async def both(phase: str, skip: float = 0.0) -> None:
            loads = [Load(running.url, known, rate, seed=len(figures)) for running in (service, reference)]
            started = time.monotonic()
            await asyncio.gather(*(load.run(seconds) for load in loads))
            kinds = count(loads[0].outcomes)
            medians = [quantile([o for o in load.outcomes if o.due > started + skip], 0.5) for load in loads]
            figures[phase] = {
                "outcomes": dict(kinds),
                "median with and without cache, ms": [round(1000 * median, 2) for median in medians],
                "slowest, ms": round(1000 * quantile(loads[0].outcomes, 1.0)),
            }
            assert set(kinds) == {"right"}, figures

        await both("redis answers")
        with paused(redis.pid):
            await both("redis is paused", skip=1.0)
            assert await value(service, 'sentiment_cache_breaker_open{operation="read"}') == 1, figures
        redis.stop()
        await both("redis is killed", skip=1.0)
        redis.start()
        await both("redis is back")
        with_cache, without = figures["redis is paused"]["median with and without cache, ms"]
    figures["targets"] = {"median while paused at most 1.5 times that without a cache": with_cache <= 1.5 * without}
    return figures


async def abandoned(service: Service, known: Mapping[str, float], *, texts: int = 400) -> Figures:
    """The engine paused, different texts sent, half of the clients gone, the engine resumed."""
    client, computed = Client(service.url), "sentiment_computed_texts_total"
    before = await value(service, computed)
    chosen = list(known.items())[:texts]
    connections = [await client.connect() for _ in chosen]
    with paused(service.children("engine")[0]):
        asking = [asyncio.create_task(_ask(c, t, e)) for c, (t, e) in zip(connections, chosen, strict=True)]
        await _in_flight(service, texts)
        for connection in connections[::2]:
            assert connection.transport is not None
            connection.transport.abort()
        await _in_flight(service, texts - len(connections[::2]))
    kinds = await asyncio.gather(*asking)
    for connection in connections:
        if connection.transport is not None:
            connection.transport.close()
    await asyncio.sleep(0.5)
    figures = {
        "outcomes": dict(Counter(kinds)),
        "texts computed": await value(service, computed) - before,
        "dropped": await value(service, "sentiment_dropped_texts_total"),
    }
    assert figures["outcomes"] == {"right": texts // 2, "closed": texts // 2}, figures
    assert figures["texts computed"] == texts // 2, figures
    return figures


async def _in_flight(service: Service, requests: int) -> None:
    """Wait until the service answers so many requests, and one that asks for this."""
    deadline = time.monotonic() + GENEROUS
    while await value(service, "sentiment_requests_in_flight") != requests + 1:
        assert time.monotonic() < deadline, "never that many"
        await asyncio.sleep(0.05)


async def _ask(connection: Connection, text: str, expected: float) -> str:
    try:
        return judge(await connection.exchange(classify_request({"text": text})), [expected])
    except ClosedError:
        return "closed"


async def terminate(service: Service, known: Mapping[str, float], *, rate: float, grace: float) -> Figures:
    """SIGTERM under load: readiness, what came before, in the grace time and too late, exit status."""
    load = Load(service.url, known, rate)
    running = asyncio.create_task(load.run(3 + grace + 2))
    await asyncio.sleep(3)
    told = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    unready = await until_ready(service, ready=False, limit=grace) if grace else 0.0
    status = await asyncio.to_thread(service.process.wait, 60)
    ended = time.monotonic() - told
    await running
    before = [o for o in load.outcomes if o.due < told]
    during = [o for o in load.outcomes if told <= o.due < told + grace - 0.2]
    late = [o for o in load.outcomes if o.due >= told + max(0.0, grace - 0.2)]
    figures = {
        "readiness 503 after, s": unready,
        "sent before SIGTERM": dict(count(before)),
        "sent in the grace time": dict(count(during)),
        "sent after it": dict(count(late)),
        "ended after, s": ended,
        "exit status": status,
        "targets": {"readiness 503 within 1 s": unready < 1},
    }
    assert set(count(before)) <= ADMITTED, figures
    assert set(count(during)) <= ADMITTED, figures
    assert set(count(late)) <= {"right", "closed"}, figures
    assert status == 0, figures
    return figures


async def _leave(client: Client, texts: Sequence[str], chance: random.Random) -> None:
    """Ask and go without reading the answer: what was asked for is cancelled wherever it is by then."""
    for text in texts:
        with suppress(ClosedError):
            connection = await client.connect()
            assert connection.transport is not None
            connection.transport.write(classify_request({"text": text}))
            await asyncio.sleep(chance.uniform(0, 0.01))
            if connection.transport is not None:
                connection.transport.abort()


async def havoc(
    service: Service, known: Mapping[str, float], redis: RedisServer, *, seed: int, rate: float, seconds: float
) -> Figures:
    """Faults of every kind in a seeded random order."""
    chance, load = random.Random(seed), Load(service.url, known, rate, seed=seed)

    async def stop(pid: int) -> None:
        with paused(pid):
            await asyncio.sleep(chance.uniform(0.2, 2.5))

    async def restart_redis() -> None:
        redis.stop()
        await asyncio.sleep(chance.uniform(0.2, 2))
        redis.start()

    async def kill_one(role: str) -> None:
        os.kill(chance.choice(service.children(role)), signal.SIGKILL)
        kills.append(time.monotonic())

    async def limit_redis(size: str) -> None:
        await asyncio.to_thread(redis.command, "CONFIG", "SET", "maxmemory", size)

    kills: list[float] = []
    faults: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "kill engine": lambda: kill_one("engine"),
        "kill worker": lambda: kill_one("worker"),
        "pause engine": lambda: stop(service.children("engine")[0]),
        "pause worker": lambda: stop(chance.choice(service.children("worker"))),
        "pause redis": lambda: stop(redis.pid),
        "restart redis": restart_redis,
        "fill redis": lambda: limit_redis("1"),
        "empty redis": lambda: limit_redis("0"),
        f"{_WHO_LEAVE} clients leave": lambda: _leave(load.client, chance.choices(list(known), k=_WHO_LEAVE), chance),
    }
    done: dict[str, int] = dict.fromkeys(faults, 0)
    running, started = asyncio.create_task(load.run(seconds)), time.monotonic()
    # A child that fails five times a minute ends the service, so kills leave a quarter of a minute in between.
    while time.monotonic() < started + seconds - 3:
        order = list(faults)
        chance.shuffle(order)
        for name in order:
            if time.monotonic() >= started + seconds - 3:
                break
            if name.startswith("kill") and kills and time.monotonic() - kills[-1] < 15 and done[name]:
                continue
            await faults[name]()
            done[name] += 1
            await asyncio.sleep(chance.uniform(0.5, 2.0))
    await running
    await until_ready(service, ready=True, limit=30)
    kinds = count(load.outcomes)
    figures = {
        "seed": seed,
        "faults": done,
        "requests": len(load.outcomes),
        "outcomes": dict(kinds),
        "slowest right answer, s": quantile(load.outcomes, 1.0),
    }
    assert set(kinds) <= HONEST | {"closed"}, figures
    assert _only_at(kills, [o for o in load.outcomes if o.kind == "closed"]), figures
    return figures
