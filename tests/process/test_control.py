"""Questions of workers to the supervisor, over a real socket."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.errors import ServiceError
from app.process.control import ControlClient, ControlServer


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
    finally:
        server.close()
    assert asked[2] == {"do": "load", "model": "m@champion", "who": "op"}
    with pytest.raises(ServiceError, match="does not answer"):
        await client.served()
