"""Counters of rate limits: shared by processes, bounded, in Redis where there is one, and there when it fails."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from limits import RateLimitItemPerHour, parse

from app.http.auth import rate_counters
from app.http.auth.rate_counters import RateCounters, SharedStorage
from app.settings import Settings
from tests.redis_server import RedisServer, free_port

LIMIT = RateLimitItemPerHour(40)


@asynccontextmanager
async def counting(path: Path | None = None, **settings: Any) -> AsyncIterator[RateCounters]:
    counters = RateCounters(Settings(**settings), path)
    try:
        yield counters
    finally:
        await counters.close()


async def test_all_of_a_limit_passes_and_no_more() -> None:
    """Of one name, at once or one by one; what does not pass is not counted."""
    async with counting() as counters:
        assert await counters.hit(LIMIT, "a", 39)
        assert not await counters.hit(LIMIT, "a", 2)
        assert await counters.test(LIMIT, "a", 1)
        assert await counters.hit(LIMIT, "a", 1)
        assert not await counters.test(LIMIT, "a", 1)
        assert (await counters.left(LIMIT, "a")).remaining == 0
        assert await counters.hit(LIMIT, "b", 40)
        assert await counters.hit(parse("40/day"), "a", 40)


PROCESS = """
import asyncio, sys
from pathlib import Path
from limits import RateLimitItemPerHour
from app.http.auth.rate_counters import RateCounters
from app.settings import Settings

async def main():
    counters = RateCounters(Settings(), Path(sys.argv[1]))
    print(sum([await counters.hit(RateLimitItemPerHour(400), "a", 1) for _ in range(200)]))

asyncio.run(main())
"""


def test_processes_count_together(tmp_path: Path) -> None:
    """At the same time, without losing a count."""
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "rates")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    passed = [int(process.communicate(timeout=60)[0]) for process in running]
    # Two that meet at the very end of a limit can each make way for the other.
    assert 400 - len(running) <= sum(passed) <= 400


HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX)
print(flush=True)
time.sleep(60)
"""


async def test_a_stopped_process_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds the lock and does not go on is not waited for."""
    monkeypatch.setattr(rate_counters, "_ATTEMPTS", 10)
    async with counting(tmp_path / "rates") as counters:
        command = [sys.executable, "-c", HOLDER, str(tmp_path / "rates")]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        try:
            assert process.stdout
            await process.stdout.readline()
            assert await counters.hit(LIMIT, "a", 40)
            assert not await counters.hit(LIMIT, "a", 1)
        finally:
            process.kill()
            await process.communicate()


async def test_there_are_so_many_counters_and_no_more(tmp_path: Path) -> None:
    """However many names come; those of now stay right, and the file has one size."""
    storage = SharedStorage(tmp_path / "rates")
    for number in range(2_000):
        assert await storage.incr(f"name {number}", 3600, 7) == 7
    assert sum([await storage.get(f"name {number}") == 7 for number in range(2_000)]) == 2_000
    for number in range(20_000):
        await storage.incr(f"another {number}", 7200)
    file = (tmp_path / "rates").stat()
    assert file.st_size == rate_counters._SLOTS * rate_counters._SLOT.size
    assert file.st_blocks * 512 >= file.st_size, "a full disk would end who writes into a hole of it"
    storage.close()


async def test_without_room_for_the_file_a_process_counts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    storage = SharedStorage(tmp_path / "rates")
    assert [await storage.incr("a", 60, 2) for _ in range(2)] == [2, 4]
    storage.close()


async def test_counters_expire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And their places are free again."""
    storage, now = SharedStorage(tmp_path / "rates"), 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    assert await storage.incr("a", 60, 5) == 5
    now += 59
    assert await storage.get("a") == 5
    now += 2
    assert await storage.get("a") == 0
    assert await storage.incr("a", 60, 1) == 1
    assert await storage.decr("a", 5) == 0
    storage.close()


@pytest.mark.extra
async def test_machines_count_together_in_redis(tmp_path: Path) -> None:
    """Each without a file in common; when Redis fails each goes on alone, and together when it is back."""
    server, patient = RedisServer(tmp_path), 5.0
    server.start()
    try:
        async with (
            counting(redis_url=server.url, redis_timeout=patient) as first,
            counting(redis_url=server.url, redis_timeout=patient) as second,
        ):
            assert await first.hit(LIMIT, "a", 30)
            assert not await second.hit(LIMIT, "a", 11)
            assert (await second.left(LIMIT, "a")).remaining == 10
            server.stop()
            assert await second.hit(LIMIT, "a", 40)
            assert not await second.hit(LIMIT, "a", 1)
    finally:
        server.stop()


async def test_a_redis_that_is_not_there_costs_little() -> None:
    """After three attempts it is left alone for a while."""
    async with counting(redis_url=f"redis://127.0.0.1:{free_port()}/0") as counters:
        async with asyncio.timeout(20):
            passed = [await counters.hit(LIMIT, "a", 1) for _ in range(41)]
    assert passed == [True] * 40 + [False]
    assert counters._breaker.is_open
