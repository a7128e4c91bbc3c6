"""A worker loads what the roster says, and lets go of what it says no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import CheckpointError, EngineUnavailableError, ServiceError
from app.serving.explanations import Explanations
from app.serving.following import Follower
from app.serving.versions import FurtherVersions, Version
from tests.fakes import MODEL, FakeClassifier, FakeExplainer
from tests.http.shapes import sample
from tests.waiting import until


def entry(name: str, place: str = "a") -> dict[str, str]:
    return {"model": name, "digest": name, "engine": place}


class Supervisor:
    """Answers as the test says, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, dict[str, str]]] = []
        self.number = 0
        self.models: list[dict[str, str]] = []
        self.canary: dict[str, Any] | None = None
        self.shadow: dict[str, Any] | None = None
        self.changed = asyncio.Event()
        self.fails = 0
        self.closed: list[str] = []
        self.damaged: dict[str, Exception] = {}
        self.versions = FurtherVersions()
        self.follower = Follower(self.ask, self.make, self.versions, patience=60.0)

    async def ask(self, seen: int, faults: Mapping[str, str]) -> Mapping[str, Any]:
        if self.fails:
            self.fails -= 1
            raise ServiceError("nobody there")
        self.told.append((seen, dict(faults)))
        while seen == self.number:
            await self.changed.wait()
            self.changed.clear()
        told = {"number": self.number, "models": self.models, "settled": True, "taken_back": 3}
        return told | {"canary": self.canary, "shadow": self.shadow}

    async def make(self, told: Mapping[str, Any]) -> Version:
        name = told["model"]
        if name in self.damaged:
            raise self.damaged[name]

        async def close() -> None:
            self.closed.append(f"{name} {told['engine']}")

        return Version(FakeClassifier(), Explanations("d", FakeExplainer(), 0), close)

    async def publish(self, *models: dict[str, str]) -> None:
        self.number, self.models = self.number + 1, list(models)
        self.changed.set()

    async def everybody_has_it(self) -> None:
        await until(lambda: self.told and self.told[-1][0] == self.number)

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.follower.follow())
        try:
            await self.follower.begun.wait()
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_what_the_roster_says_is_loaded() -> None:
    """And nothing else; what stays is not made again, and what is loaded once more is another one."""
    supervisor = Supervisor()
    async with supervisor.followed():
        await supervisor.publish(entry("a/1"), entry("b/1"))
        await supervisor.everybody_has_it()
        first = dict(supervisor.versions.loaded)
        assert list(first) == ["a/1", "b/1"]
        await supervisor.publish(entry("b/1"), entry("a/1", "again"))
        await supervisor.everybody_has_it()
        assert supervisor.versions.loaded["b/1"] is first["b/1"]
        assert supervisor.versions.loaded["a/1"] is not first["a/1"]
        assert supervisor.closed == ["a/1 a"]
        await supervisor.publish()
        await supervisor.everybody_has_it()
        assert supervisor.versions.loaded == {}
    assert supervisor.closed == ["a/1 a", "b/1 a", "a/1 again"]


async def test_who_has_asked_is_waited_for() -> None:
    """A version that is gone takes nothing more, and the supervisor hears of it when what it had is answered."""
    supervisor = Supervisor()
    async with supervisor.followed():
        await supervisor.publish(entry("a/1"))
        await supervisor.everybody_has_it()
        with supervisor.versions.loaded["a/1"]:
            await supervisor.publish()
            await until(lambda: not supervisor.versions.loaded)
            assert supervisor.told[-1][0] == 1
            assert supervisor.closed == []
        await supervisor.everybody_has_it()
    assert supervisor.closed == ["a/1 a"]


async def test_what_cannot_be_loaded_is_told() -> None:
    """The rest is loaded, and what was wrong with it is forgotten when it is gone."""
    supervisor = Supervisor()
    supervisor.damaged = {"a/1": CheckpointError("a/1 is damaged"), "c/1": ZeroDivisionError()}
    async with supervisor.followed():
        await supervisor.publish(entry("a/1"), entry("b/1"), entry("c/1"))
        await supervisor.everybody_has_it()
        faults = {"a/1": "a/1 is damaged", "c/1": "an unexpected error occurred; it has been logged"}
        assert supervisor.told[-1] == (1, faults)
        assert list(supervisor.versions.loaded) == ["b/1"]
        await supervisor.publish(entry("b/1"))
        await supervisor.everybody_has_it()
        assert supervisor.told[-1] == (2, {})


async def test_without_a_supervisor_all_stays_as_it_is(monkeypatch: Any) -> None:
    """And it is asked again."""
    monkeypatch.setattr("app.serving.following._RETRY_SECONDS", 0.0)
    supervisor = Supervisor()
    async with supervisor.followed():
        await supervisor.publish(entry("a/1"))
        await supervisor.everybody_has_it()
        supervisor.fails = 3
        await supervisor.publish(entry("a/1"), entry("b/1"))
        await supervisor.everybody_has_it()
        assert list(supervisor.versions.loaded) == ["a/1", "b/1"]
    await supervisor.follower.close()
    assert supervisor.closed == ["a/1 a", "b/1 a"]


async def test_the_canary_is_what_the_roster_says() -> None:
    """If it is loaded here."""
    supervisor = Supervisor()
    supervisor.damaged = {"b/1": CheckpointError("b/1 is damaged")}
    async with supervisor.followed():
        for name, percent in (("a/1", 10.0), ("a/1", 50.0), ("b/1", 50.0)):
            supervisor.canary = {"model": name, "percent": percent}
            await supervisor.publish(entry("a/1"), entry("b/1"))
            await supervisor.everybody_has_it()
            canary = supervisor.versions.canary
            assert (canary is not None) == (name == "a/1")
            assert canary is None or canary.version is supervisor.versions.loaded["a/1"]
            assert sample("sentiment_canary_ratio") == percent / 100
        waiting = asyncio.create_task(supervisor.versions.loaded["a/1"].unless_away(asyncio.sleep(1e6)))
        supervisor.canary = {"model": "a/1", "percent": 20.0}
        await supervisor.publish(entry("a/1"))
        await supervisor.everybody_has_it()
        assert not waiting.done()
        supervisor.canary = None
        await supervisor.publish(entry("a/1"))
        await supervisor.everybody_has_it()
        assert supervisor.versions.canary is None
        # What it had of its share is answered by another.
        with pytest.raises(EngineUnavailableError):
            await waiting
        assert sample("sentiment_canary_ratio") == 0
        assert sample("sentiment_canary_taken_back") == 3


async def test_the_shadow_is_what_the_roster_says(tmp_path: Path) -> None:
    """If it is loaded here; one that goes on as before is left alone, and the last one ends with the follower."""
    supervisor = Supervisor()
    served = supervisor.versions.served = FakeClassifier()
    supervisor.follower._folder = tmp_path
    async with supervisor.followed():
        seen: list[object] = []
        for name, percent in (("a/1", 10.0), ("a/1", 10.0), ("a/1", 50.0), ("b/1", 50.0)):
            supervisor.shadow = {"model": name, "percent": percent}
            await supervisor.publish(entry("a/1"))
            await supervisor.everybody_has_it()
            assert sample("sentiment_shadow_ratio") == percent / 100
            seen.append(served.shadow)
        assert seen[0] is seen[1]
        assert seen[2] not in (None, seen[0])
        assert seen[3] is None
        supervisor.shadow = {"model": "a/1", "percent": 10.0}
        await supervisor.publish(entry("a/1"))
        await supervisor.everybody_has_it()
        assert served.shadow is not None
    await supervisor.follower.close()
    assert served.shadow is None
    assert supervisor.closed == ["a/1 a"]


async def test_a_shadow_that_cannot_be_compared_is_none(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor()
    config = MODEL.config.model_copy(update={"labels": ("bad", "good")})
    served = supervisor.versions.served = FakeClassifier(model=replace(MODEL, config=config))
    async with supervisor.followed():
        supervisor.shadow = {"model": "a/1", "percent": 10.0}
        await supervisor.publish(entry("a/1"))
        await supervisor.everybody_has_it()
        assert served.shadow is None
        assert "cannot be compared" in caplog.text
