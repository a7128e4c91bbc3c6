"""Servers that are no plain Redis, or take no writes: used, refused at the start, or named in the log."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import SettingsError
from app.sentiment import Prediction
from app.serving.redis_cache import RedisCache
from app.serving.redis_link import refuse_other_modes
from tests.http.shapes import sample
from tests.monitoring.stack import program
from tests.redis_server import RedisServer, free_port, wait_until_it_listens
from tests.serving.test_cache import eventually, redis_cache
from tests.waiting import LIMIT

VALUE = Prediction((0.25, 0.75), tokens=12, truncated=False)


async def use(url: str) -> None:
    """What is put there is found again."""
    await refuse_other_modes(url)
    async with redis_cache(url) as cache:
        cache.put(b"key", VALUE)
        assert await eventually(cache, b"key") == VALUE._replace(cached=True)


async def put_until_it_rests(cache: RedisCache) -> None:
    deadline = time.monotonic() + LIMIT
    while not cache._writes.breaker.is_open:
        assert time.monotonic() < deadline, "writes never failed"
        cache.put(b"key", VALUE)
        # Whatever look-ups say, writes fail.
        assert await cache.get_many([b"a", b"b"]) == [None, None]
        await asyncio.sleep(0.01)


async def test_a_full_server_is_said_to_be_full(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Writes rest after some failures, with one line in Redis' words; look-ups go on; a second line says it is over."""
    caplog.set_level("INFO", "app.serving.redis_link")
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    async with redis_cache(redis_server.url) as cache:
        await put_until_it_rests(cache)
        assert cache.in_use
        [line] = [record.getMessage() for record in caplog.records]
        assert line.startswith("redis fails to write (ResponseError: OOM ")
        redis_server.command("CONFIG", "SET", "maxmemory", "0")
        # A look-up may find what was written before the writer has read that it was, so the breaker is waited for.
        deadline = time.monotonic() + LIMIT
        while cache._writes.breaker.is_open or not (await cache.get_many([b"key"]))[0]:
            assert time.monotonic() < deadline, "nothing was written again"
            cache.put(b"key", VALUE)
            await asyncio.sleep(0.02)
        assert [record.getMessage() for record in caplog.records][1:] == ["redis can be used to write again"]


async def test_a_replica_is_said_to_take_no_writes(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """As above: look-ups are answered, and the log names the reason."""
    redis_server.command("REPLICAOF", "127.0.0.1", str(free_port()))
    async with redis_cache(redis_server.url) as cache:
        await put_until_it_rests(cache)
        assert cache.in_use
        assert any("redis fails to write (ResponseError: READONLY " in record.getMessage() for record in caplog.records)


async def test_a_server_that_is_not_there_does_not_keep_from_starting(caplog: pytest.LogCaptureFixture) -> None:
    """Redis is optional; the log says that it does not answer."""
    await refuse_other_modes(f"redis://127.0.0.1:{free_port()}/0")
    assert "redis does not answer at the start (ConnectionError" in caplog.text


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0?no_such=option", "redis://127.0.0.1:port/0"])
def test_a_url_that_will_not_do_is_refused(url: str) -> None:
    """By name, and without its content, which may hold a password."""
    with pytest.raises(SettingsError, match="SENTIMENT_REDIS_URL"):
        RedisCache(url, classes=2, timeout=1.0, ttl=60)


async def test_a_unix_socket(tmp_path: Path) -> None:
    """``unix://`` works."""
    server = RedisServer(tmp_path, "--unixsocket", str(tmp_path / "redis.sock"))
    server.start()
    try:
        await use(f"unix://{tmp_path}/redis.sock?db=1")
    finally:
        server.stop()


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """Where a server listens for TLS, with the certificate ``cert.pem``."""
    request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    request += f" -addext subjectAltName=DNS:localhost -keyout {tmp_path}/key.pem -out {tmp_path}/cert.pem"
    subprocess.run([program("openssl"), *request.split()], check=True, capture_output=True, timeout=60)
    program("redis-server")
    port = free_port()
    tls = ["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-auth-clients", "no"]
    server = RedisServer(tmp_path, "--tls-port", str(port), *tls)
    server.start()
    try:
        yield port
    finally:
        server.stop()


@pytest.mark.extra
async def test_tls(tls_port: int, tmp_path: Path) -> None:
    """``rediss://`` works with a certificate that is vouched for, and with no other."""
    await use(f"rediss://localhost:{tls_port}/0?ssl_ca_certs={tmp_path}/cert.pem")
    before = sample("sentiment_cache_lookups_total", tier="redis", result="error")
    async with redis_cache(f"rediss://localhost:{tls_port}/0") as cache:
        assert await cache.get_many([b"key"]) == [None]
    assert sample("sentiment_cache_lookups_total", tier="redis", result="error") == before + 1


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """Three masters that share the slots."""
    program("redis-server")
    nodes = []
    try:
        for number in range(3):
            folder = tmp_path / str(number)
            folder.mkdir()
            nodes.append(RedisServer(folder, "--cluster-enabled", "yes", "--cluster-port", str(free_port())))
            nodes[-1].start()
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        command = [program("redis-cli"), "--cluster", "create", *addresses, "--cluster-yes"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        yield nodes
    finally:
        for node in nodes:
            node.stop()


@pytest.mark.extra
async def test_a_cluster_is_refused(cluster: list[RedisServer], caplog: pytest.LogCaptureFixture) -> None:
    """At the start with what to do instead; and where one comes later, the log says what it answers."""
    with pytest.raises(SettingsError, match=r"SENTIMENT_REDIS_URL: this server is a cluster.* name a single Redis"):
        await refuse_other_modes(cluster[0].url)
    async with redis_cache(cluster[0].url) as cache:
        for number in range(20):
            assert await cache.get_many([b"%d" % number, b"other"]) == [None, None]
        assert cache._reads.breaker.is_open
    assert "redis fails to read (ResponseError: CROSSSLOT " in caplog.text


@pytest.fixture
def sentinel_port(tmp_path: Path) -> Iterator[int]:
    """Where a sentinel listens."""
    port = free_port()
    (tmp_path / "sentinel.conf").write_text(f"port {port}\nprotected-mode no\n")
    command = [program("redis-server"), str(tmp_path / "sentinel.conf"), "--sentinel"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until_it_listens(port, process)
            yield port
        finally:
            process.kill()


@pytest.mark.extra
async def test_a_sentinel_is_refused(sentinel_port: int) -> None:
    """It holds no keys, only addresses."""
    with pytest.raises(SettingsError, match="this server is a sentinel"):
        await refuse_other_modes(f"redis://127.0.0.1:{sentinel_port}/0")
