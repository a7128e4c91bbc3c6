"""Questions of workers to the supervisor, over a real socket."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.errors import ServiceError
from app.process.control import ControlClient, ControlServer
from tests.waiting import wait_until


async def test_a_question_is_answered(tmp_path: Path) -> None:
    """With what it asks for; one that fails there is no answer, and the next one is answered again."""
    asked: list[Mapping[str, Any]] = []

    def handle(question: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(question)
        if question.get("who") == "nobody":
            raise RuntimeError("boom")
        return {"number": len(asked)}

    server = ControlServer(tmp_path / "control", handle)
    try:
        client = ControlClient(tmp_path / "control")
        assert await client.served() == {"number": 1}
        with pytest.raises(ServiceError, match="does not answer"):
            await client.load("m", "nobody")
        assert await client.load("m@champion", "op") == {"number": 3}
        assert await client.load_beside("m/2", "op") == {"number": 4}
        assert await client.unload("m/2", "op") == {"number": 5}
        assert await client.divide("m/2", 10.0, "op") == {"number": 6}
        assert await client.roster(7, {"m/2": "damaged"}) == {"number": 7}
    finally:
        server.close()
    assert asked[2:6] == [
        {"do": "load", "model": "m@champion", "who": "op"},
        {"do": "load_beside", "model": "m/2", "who": "op"},
        {"do": "unload", "model": "m/2", "who": "op"},
        {"do": "divide", "model": "m/2", "who": "op", "percent": 10.0},
    ]
    assert asked[6] == {"do": "roster", "seen": 7, "faults": {"m/2": "damaged"}, "worker": os.getpid()}
    with pytest.raises(ServiceError, match="does not answer"):
        await client.served()


def test_a_worker_that_ends_while_it_waits_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It happens whenever others have taken its place."""
    left = threading.Event()

    def handle(question: Mapping[str, Any]) -> Mapping[str, Any]:
        left.wait(60)
        return {"long": "x" * 10_000_000}

    server = ControlServer(tmp_path / "control", handle)
    try:
        with caplog.at_level(logging.DEBUG, "app.process.control"):
            with socket.socket(socket.AF_UNIX) as worker:
                worker.connect(str(tmp_path / "control"))
                worker.sendall(b"{}\n")
            left.set()
            wait_until(lambda: caplog.records, "never noticed")
    finally:
        server.close()
    assert [record.levelname for record in caplog.records] == ["DEBUG"]
