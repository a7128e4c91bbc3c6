"""Logs: one line a record, whatever is in it; as JSON or for a terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from app import logs


@pytest.fixture(autouse=True)
def untouched_root() -> Iterator[None]:
    """The root logger and the server's are as before afterwards."""
    root, server = logging.getLogger(), logging.getLogger("uvicorn.error")
    before = root.handlers[:], root.level, server.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    server.setLevel(before[2])


def test_json_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Time, level, logger, message, what the process serves, request id and extras, one object a line."""
    monkeypatch.setattr(logs, "context", {"model": "tiny/1"})
    logs.configure("info", "json")
    token = logs.request_id.set("abc-1")
    logging.getLogger("app.test").info("answered %d\ntexts", 3, extra={"duration_ms": 1.5})
    logs.request_id.reset(token)
    [line] = capsys.readouterr().err.splitlines()
    document = json.loads(line)
    assert document.pop("time").endswith("Z")
    assert document == {
        "level": "info",
        "logger": "app.test",
        "message": "answered 3\ntexts",
        "model": "tiny/1",
        "duration_ms": 1.5,
        "request_id": "abc-1",
    }


def test_exceptions_are_part_of_their_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback does not break the one-object-a-line rule."""
    logs.configure("info", "json")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("app.test").exception("failed")
    [line] = capsys.readouterr().err.splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_text_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Readable, and an extra with a line break in it cannot forge a line."""
    logs.configure("info", "text")
    logging.getLogger("app.test").warning("slow", extra={"path": "/a\nfake line", "status": 200})
    [line] = capsys.readouterr().err.splitlines()
    assert "warning" in line
    assert line.endswith(r"slow path='/a\nfake line' status=200")


def test_auto_is_json_without_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """People get text, collectors get JSON."""
    logs.configure("info", "auto")
    logging.getLogger("app.test").info("hello")
    assert json.loads(capsys.readouterr().err)["message"] == "hello"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    logs.configure("info", "auto")
    logging.getLogger("app.test").info("hello")
    assert capsys.readouterr().err.endswith("hello\n")


def test_less_severe_records_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """The level is a threshold, and configuring twice does not write twice."""
    logs.configure("info", "json")
    logs.configure("error", "json")
    logging.getLogger("app.test").warning("not this")
    logging.getLogger("app.test").error("this")
    assert len(capsys.readouterr().err.splitlines()) == 1
