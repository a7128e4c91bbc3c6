"""The versions that a worker has loaded beside the one that it serves, and which of them a request is for."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from app import metrics
from app.errors import CheckpointError, EngineUnavailableError, UnknownModelError
from app.labels import parse_reference
from app.serving.classifier import Classifier
from app.serving.explanations import Explanations
from app.store import ModelStore, StoredModel

logger = logging.getLogger(__name__)

_LABELS_SECONDS = 2.0
"""How long labels that were read are taken for what they are now."""
_READ_SECONDS = 0.25
"""How long is waited for them to be read."""
_UNREAD: tuple[float, Mapping[str, int]] = (0.0, {})
_SHOWN = 100
"""Characters of an unknown name that an error repeats."""

_Answer = TypeVar("_Answer")

Labels = Callable[[str], Mapping[str, int]]
"""Gives the versions of a model by label."""


class Version:
    """One version, whole: what classifies with it, and what explains that. Never changed, but replaced by another.

    While somebody is within it (``with``), it is in use.

    Args:
        classifier: with tokenizer, cache and engine of its own.
        explanations: of the same version.
        close: stops what they are made of.
    """

    __slots__ = ("_left", "_users", "classifier", "close", "explanations")

    def __init__(
        self, classifier: Classifier, explanations: Explanations, close: Callable[[], Awaitable[None]]
    ) -> None:
        self.classifier = classifier
        self.explanations = explanations
        self.close = close
        self._users = 0
        self._left: set[asyncio.Future[None]] = set()

    def engine_left(self) -> None:
        """Its engine is away, or it is canary no more: whoever would rather ask another version does."""
        for waiter in self._left:
            if not waiter.done():
                waiter.set_result(None)

    async def unless_away(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        """What comes of work with this version. Texts wait for an engine that is started again; this does not.

        Raises:
            EngineUnavailableError: the engine went away first, and the work was given up.
        """
        left, task = asyncio.get_running_loop().create_future(), asyncio.ensure_future(work)
        self._left.add(left)
        try:
            await asyncio.wait([left, task], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise EngineUnavailableError("the engine went away", retry_after=1.0)
        finally:
            self._left.discard(left)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def idle(self) -> bool:
        """Whether nobody uses it."""
        return not self._users and not self.classifier.in_flight

    def __enter__(self) -> Self:
        self._users += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._users -= 1


class Canary:
    """A version that answers a share of the requests which name none.

    Who is among them stays so while the share grows, and others are for another version.

    Args:
        version: the version.
        percent: its share.
    """

    __slots__ = ("_below", "_hash", "version")

    def __init__(self, version: Version, percent: float) -> None:
        self.version = version
        self._below = percent / 100 * 2**64
        self._hash = hashlib.blake2b(version.classifier.model.reference.encode() + b"\0", digest_size=8)

    def takes(self, told: bytes) -> bool:
        """Whether requests that tell this of themselves are of its share."""
        found = self._hash.copy()
        found.update(told)
        return int.from_bytes(found.digest()) < self._below


class FurtherVersions:
    """What is loaded beside the version that is served.

    Args:
        labels: what names versions.
        header: by which requests that belong together tell so, in small letters.

    Attributes:
        loaded: by NAME/VERSION; replaced as a whole.
        canary: the one that answers a share of the requests which name none.
        served: what is served; None until it is there.
        settled: whether all is loaded that was to be there from the start.
    """

    def __init__(self, labels: Labels = lambda _: {}, header: bytes = b"") -> None:
        self.loaded: Mapping[str, Version] = {}
        self.canary: Canary | None = None
        self.served: Classifier | None = None
        self.settled = True
        self._labels = labels
        self._header = header

    def tell(self) -> None:
        """Have the metrics say how much is loaded, and of how much of that the engine is away."""
        metrics.FURTHER_MODELS.set(len(self.loaded))
        metrics.FURTHER_MODELS_AWAY.set(sum(not it.classifier.ready for it in self.loaded.values()))

    def divided(self, headers: Iterable[tuple[bytes, bytes]], text: str) -> Version | None:
        """The version for a request that names none, by its header, else by its text. None: what is served, which also
        answers while the engine of the other one is away."""
        canary = self.canary
        if canary is None:
            return None
        told = next((value for name, value in headers if name == self._header and value), None)
        if told is None:
            told = text.encode("utf-8", "surrogatepass")
        if not canary.takes(told):
            return None
        if not canary.version.classifier.ready:
            metrics.CANARY_REQUESTS.labels("away").inc()
            return None
        return canary.version

    def find(self, reference: str, served: StoredModel) -> Version | None:
        """The version that a request names: NAME, NAME/VERSION or NAME@LABEL. None: the one that is served.

        NAME is the version that is served, where that is one of this name; else the highest that is loaded.

        Args:
            reference: what the request says.
            served: what is served.

        Raises:
            UnknownModelError: it is not loaded.
        """
        wanted = self._resolved(reference, served)
        if wanted == served.reference:
            return None
        found = self.loaded.get(wanted)
        if found is None:
            there = ", ".join((served.reference, *self.loaded))
            raise UnknownModelError(f"{reference[:_SHOWN]} is not loaded; loaded are: {there}")
        return found

    def _resolved(self, reference: str, served: StoredModel) -> str:
        try:
            name, version, label = parse_reference(reference)
        except CheckpointError:
            return ""
        named = [it.classifier.model.version for it in self.loaded.values() if it.classifier.model.name == name]
        if label is not None:
            # Of what somebody makes up nothing is looked for.
            version = self._labels(name).get(label) if named or served.name == name else None
        elif version is None:
            version = served.version if served.name == name else max(named, default=None)
        return f"{name}/{version}"


class StoredLabels:
    """Labels as they stand in the store, read again after a moment. See ``Labels``.

    They are read beside the event loop: a store on a network may hang for longer than this process may be silent. While
    it does, and while it is away, labels are what they were.

    Args:
        root: of the store.
    """

    def __init__(self, root: Path) -> None:
        self._store = ModelStore(root)
        self._read: dict[str, tuple[float, Mapping[str, int]]] = {}
        self._reader: threading.Thread | None = None

    def __call__(self, name: str) -> Mapping[str, int]:
        until, _ = self._read.get(name, _UNREAD)
        if time.monotonic() > until and (self._reader is None or not self._reader.is_alive()):
            self._reader = threading.Thread(target=self._look, args=(name,), daemon=True, name="labels")
            self._reader.start()
            self._reader.join(_READ_SECONDS)
        return self._read.get(name, _UNREAD)[1]

    def _look(self, name: str) -> None:
        _, labels = self._read.get(name, _UNREAD)
        try:
            self._store.resolve(name)  # whether it is there at all
            labels = self._store.labels(name).labels
        except (CheckpointError, OSError) as error:
            logger.error("labels cannot be read: %s", error)
        if labels:
            self._read[name] = (time.monotonic() + _LABELS_SECONDS, labels)
        else:
            self._read.pop(name, None)
