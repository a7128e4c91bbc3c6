"""How a worker comes to have what the supervisor's roster says: it loads what is new, and lets go of what is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from app import metrics
from app.errors import SentimentError, ServiceError
from app.serving.versions import Canary, FurtherVersions, Version

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
_IDLE_SECONDS = 0.05

Ask = Callable[[int, Mapping[str, str]], Awaitable[Mapping[str, Any]]]
"""Asks the supervisor for its roster; told the number of the one that is here, and what of it could not be loaded."""
Make = Callable[[Mapping[str, Any]], Awaitable[Version]]
"""Makes a version of an entry of the roster."""


class Follower:
    """Keeps a worker's versions as the roster has them.

    Args:
        ask: see ``Ask``.
        make: see ``Make``.
        versions: what is kept.
        patience: seconds that requests under way have when their version is gone.
    """

    def __init__(self, ask: Ask, make: Make, versions: FurtherVersions, patience: float) -> None:
        self._ask = ask
        self._make = make
        self.versions = versions
        self._patience = patience
        self._entries: dict[str, Mapping[str, Any]] = {}
        self._number = -1
        self._faults: dict[str, str] = {}
        self.begun = asyncio.Event()
        """Set when what the first roster says was done."""

    async def follow(self) -> None:
        """Do so for ever."""
        while True:
            try:
                told = await self._ask(self._number, self._faults)
            except ServiceError:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if told["number"] != self._number:
                await self._take(told)
                self._number = told["number"]
            self.begun.set()

    async def close(self) -> None:
        """Let go of all versions."""
        for version in self.versions.loaded.values():
            await version.close()

    async def _take(self, told: Mapping[str, Any]) -> None:
        entries, before = {entry["model"]: entry for entry in told["models"]}, self.versions.loaded
        loaded = {name: it for name, it in before.items() if entries.get(name) == self._entries[name]}
        self._faults = {}
        for name, entry in entries.items():
            if name in loaded:
                continue
            try:
                loaded[name] = await self._make(entry)
            except SentimentError as error:
                logger.error("%s cannot be loaded: %s", name, error)
                self._faults[name] = str(error)
            except Exception:
                logger.exception("%s cannot be loaded", name)
                self._faults[name] = "an unexpected error occurred; it has been logged"
        self._entries = entries
        self.versions.loaded, self.versions.settled = loaded, told["settled"]
        share = told["canary"]
        version = loaded.get(share["model"]) if share else None
        self.versions.canary = None if version is None else Canary(version, share["percent"])
        metrics.CANARY_RATIO.set(share["percent"] / 100 if share else 0)
        metrics.CANARY_TAKEN_BACK.set(told["taken_back"])
        self.versions.tell()
        gone = [it for name, it in before.items() if it is not loaded.get(name)]
        await asyncio.gather(*map(self._let_go, gone))

    async def _let_go(self, version: Version) -> None:
        """Nobody can ask for it any more; who has asked is waited for."""
        deadline = time.monotonic() + self._patience
        # Looked at, because no text is worth the price of telling somebody that it may have been the last.
        while not version.idle and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_IDLE_SECONDS)
        await version.close()
