"""``python -m app cache purge``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from app import cli
from tests.redis_server import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path)
    running.start()
    yield running
    running.stop()


def test_all_results_go_and_nothing_else(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In batches, however many there are; keys of others stay. A second time there is nothing to do."""
    monkeypatch.setenv("SENTIMENT_REDIS_URL", server.url)
    with redis.Redis.from_url(server.url) as client:
        client.mset({f"sentiment:{number:032x}": b"result" for number in range(2500)})
        client.mset({"sentimental": b"other", "other:sentiment:": b"other"})
        assert cli.main(["cache", "purge"]) == 0
        assert sorted(client.keys()) == [b"other:sentiment:", b"sentimental"]
        assert client.info("commandstats")["cmdstat_unlink"]["calls"] >= 3
    assert cli.main(["cache", "purge", "--redis-url", server.url]) == 0
    assert capsys.readouterr().out.splitlines() == ["deleted 2500 results", "deleted 0 results"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://:pass@127.0.0.1:1/0", "cannot be purged: Error 111"),
        ("redis://:pass@localhost:port/0", "malformed address, port or option"),
        (None, "no Redis to purge: give --redis-url"),
    ],
)
def test_what_cannot_be_purged_is_named(url: str | None, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the reason, and without the password."""
    assert cli.main(["cache", "purge", *([] if url is None else ["--redis-url", url])]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "pass@" not in error
