"""How a worker comes to have what the supervisor's roster says: it loads what is new, and lets go of what is gone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from app import metrics
from app.agreement import comparison_of
from app.errors import SentimentError, ServiceError
from app.serving.different_texts import DifferentTexts
from app.serving.shadow import Shadow
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
        folder: of the texts on which a shadow differs most; None keeps none.
        workers: how many do so, each for itself.
    """

    def __init__(
        self,
        ask: Ask,
        make: Make,
        versions: FurtherVersions,
        patience: float,
        folder: Path | None = None,
        workers: int = 1,
    ) -> None:
        self._ask = ask
        self._make = make
        self.versions = versions
        self._patience = patience
        self._folder = folder
        self._workers = workers
        self._shadow: Shadow | None = None
        self._shadowing: tuple[Version, float] | None = None
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
        await self._end_shadow()
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
        ended = self.versions.canary
        self.versions.canary = None if version is None else Canary(version, share["percent"])
        if ended is not None and ended.version is not version:
            ended.version.engine_left()  # what it has of the share is answered by what is served, at once
        metrics.CANARY_RATIO.set(share["percent"] / 100 if share else 0)
        metrics.CANARY_TAKEN_BACK.set(told["taken_back"])
        await self._cast_shadow(told["shadow"])
        self.versions.tell()
        gone = [it for name, it in before.items() if it is not loaded.get(name)]
        await asyncio.gather(*map(self._let_go, gone))

    async def _cast_shadow(self, share: Mapping[str, Any] | None) -> None:
        """Have a version judge a share of the texts, or none; one that goes on as before is left alone."""
        metrics.SHADOW_RATIO.set(share["percent"] / 100 if share else 0)
        version, served = self.versions.loaded.get(share["model"]) if share else None, self.versions.served
        wanted = (version, share["percent"]) if version is not None and share else None
        if wanted == self._shadowing:
            return
        await self._end_shadow()
        if version is None or share is None or served is None:
            return
        model, other = served.model, version.classifier.model
        comparison = comparison_of(model.config, other.config)
        if comparison is None:  # the supervisor refuses it, too
            logger.error("%s and %s cannot be compared", other.reference, model.reference)
            return
        kept = None
        if self._folder is not None:
            name = f"{other.name}-{other.version}.{model.name}-{model.version}.{metrics.process.name}"
            kept = await asyncio.to_thread(DifferentTexts, self._folder, name)
        self._shadow = served.shadow = Shadow(served, version, share["percent"], comparison, kept, self._workers)
        self._shadowing = wanted

    async def _end_shadow(self) -> None:
        if self._shadow is None:
            return
        if self.versions.served is not None:
            self.versions.served.shadow = None
        ending, self._shadow, self._shadowing = self._shadow, None, None
        await ending.close()

    async def _let_go(self, version: Version) -> None:
        """Nobody can ask for it any more; who has asked is waited for."""
        deadline = time.monotonic() + self._patience
        # Looked at, because no text is worth the price of telling somebody that it may have been the last.
        while not version.idle and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_IDLE_SECONDS)
        await version.close()
