"""Explanations on their way: the worker's cache in front of an explainer, and the queue before the one that computes.

An explanation costs as much as hundreds of plain answers. So one is computed at a time, the queue is short, and
whatever nobody waits for any more is stopped in the middle.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import orjson

from app import metrics
from app.errors import (
    DeadlineError,
    ExplainerUnavailableError,
    InferenceError,
    OverloadedError,
    SentimentError,
    ServiceError,
)
from app.sentiment import ExplanationKind
from app.serving.cache import KeyMaker

logger = logging.getLogger(__name__)

_VERSION = "1"
"""Of the content of explanations; part of every key."""
_OVERHEAD_BYTES = 200
"""What a cached part costs beside its content."""
_BETWEEN_LOADS = 30.0
"""Seconds in which what could not be loaded is not tried again."""
_SECONDS_MEMORY = 0.2
"""Weight of the newest text in the measured seconds per text."""


@dataclass(frozen=True, slots=True)
class ExplanationRequest:
    """One text to explain.

    Attributes:
        text: has at least one word.
        kinds: what to explain; not empty.
        target: index of the class whose score is explained.
        deadline: ``time.monotonic()`` after which nobody wants the answer.
        aspects: what to look for, where ``kinds`` has ``aspects``; none: what the text speaks of.
    """

    text: str
    kinds: Sequence[ExplanationKind]
    target: int
    deadline: float
    aspects: Sequence[str] = ()

    def subject(self, kind: ExplanationKind) -> str:
        """All that decides the content of one part."""
        return f"{kind} {orjson.dumps(list(self.aspects)).decode() if kind == 'aspects' else self.target} {self.text}"


Parts = dict[ExplanationKind, bytes]
"""By kind, members of a JSON object, without the braces around them."""


class Explainer(Protocol):
    """Explains texts, wherever that is."""

    async def explain(self, request: ExplanationRequest) -> Parts:
        """The parts of one text. Cancelling stops the work.

        Raises:
            OverloadedError: too many are waiting.
            DeadlineError: the deadline passed.
            ExplainerUnavailableError: nobody is there to explain.
            InferenceError: the explanation failed for this text.
        """
        ...

    def warm(self) -> None:
        """Somebody may ask soon: get ready in the background, where what that takes is given back later."""
        ...

    async def close(self) -> None:
        """Stop."""
        ...


class Computer(Protocol):
    """What computes an explanation. Blocking; one call at a time."""

    def explain(
        self, text: str, kind: ExplanationKind, target: int, check: Callable[[], None], aspects: Sequence[str]
    ) -> dict[str, Any]:
        """The members of one kind; ``check`` is called often and stops the work by raising."""
        ...


class LocalExplainer:
    """An ``Explainer`` in this process: a bounded queue and one thread.

    Args:
        load: makes what computes, in that thread. Where it fails, every text is told so at once.
        max_waiting: most texts that wait or are computed.
    """

    def __init__(self, load: Callable[[], Computer], max_waiting: int) -> None:
        self._load = load
        self._max_waiting = max_waiting
        self._computer: Computer | None = None
        self._failed = -math.inf
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._turn = asyncio.Lock()
        self._seconds = 1.0
        self.waiting = 0

    async def start(self) -> None:
        """Load what computes, and raise what that raises; otherwise the first text does."""
        self._computer = await asyncio.get_running_loop().run_in_executor(self._executor, self._load)

    def warm(self) -> None:
        """Nothing: what this process loads, it keeps."""

    async def close(self) -> None:
        """Stop; nothing may be waiting."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def explain(self, request: ExplanationRequest) -> Parts:
        """The parts of one text. See ``Explainer.explain``."""
        if self.waiting >= self._max_waiting:
            raise OverloadedError(
                f"{self.waiting} texts wait for an explanation, which is the limit",
                retry_after=max(1.0, self.waiting * self._seconds),
            )
        stopped = threading.Event()
        self._count(1)
        try:
            async with asyncio.timeout(max(0.0, request.deadline - time.monotonic())), self._turn:
                compute = asyncio.get_running_loop().run_in_executor(self._executor, self._compute, request, stopped)
                return await compute
        except TimeoutError:
            raise DeadlineError("the deadline passed before the text was explained") from None
        finally:
            stopped.set()
            self._count(-1)

    def _count(self, change: int) -> None:
        self.waiting += change
        metrics.EXPLANATION_QUEUE_DEPTH.set(self.waiting)

    def _loaded(self) -> Computer:
        if self._computer is None:
            if time.monotonic() < self._failed + _BETWEEN_LOADS:
                raise _cannot_explain()
            try:
                self._computer = self._load()
            except Exception as error:
                self._failed = time.monotonic()
                logger.critical("cannot explain: %s", error, exc_info=not isinstance(error, SentimentError))
                raise _cannot_explain() from error
        return self._computer

    def _compute(self, request: ExplanationRequest, stopped: threading.Event) -> Parts:
        def check() -> None:
            if stopped.is_set() or time.monotonic() > request.deadline:
                raise DeadlineError("the deadline passed before the text was explained")

        began = time.monotonic()
        parts = {}
        for kind in request.kinds:
            started = time.monotonic()
            check()
            try:
                members = self._loaded().explain(request.text, kind, request.target, check, request.aspects)
            except ServiceError:
                raise
            except Exception as error:
                logger.exception("an explanation failed (%s)", kind)
                raise InferenceError("the explanation failed for this text") from error
            metrics.EXPLANATION_SECONDS.labels(kind).observe(time.monotonic() - started)
            parts[kind] = orjson.dumps(members)[1:-1]
        self._seconds += _SECONDS_MEMORY * (time.monotonic() - began - self._seconds)
        return parts


def _cannot_explain() -> ExplainerUnavailableError:
    return ExplainerUnavailableError(
        "the explainer cannot start, the service's log says why; without explain texts are answered", _BETWEEN_LOADS
    )


class Explanations:
    """What one HTTP worker asks for explanations.

    Args:
        digest: of the model, see ``StoredModel.digest``.
        explainer: where explanations are computed.
        cache_bytes: most bytes of explanations kept in this process; 0 keeps none.
    """

    def __init__(self, digest: str, explainer: Explainer, cache_bytes: int) -> None:
        self._explainer = explainer
        self._key = KeyMaker(digest, "explanation", _VERSION)
        self._cache = _PartCache(cache_bytes)

    async def explain(self, request: ExplanationRequest) -> bytes:
        """The explanation of one text as a JSON object. See ``Explainer.explain``."""
        keys = {kind: self._key(request.subject(kind)) for kind in request.kinds}
        parts = {kind: part for kind, key in keys.items() if (part := self._cache.get(key)) is not None}
        missing = [kind for kind in keys if kind not in parts]
        if missing:
            try:
                computed = await self._explainer.explain(replace(request, kinds=missing))
            except ServiceError as error:
                metrics.EXPLANATIONS.labels(error.code).inc()
                raise
            for kind, part in computed.items():
                self._cache.put(keys[kind], part)
            parts |= computed
        metrics.EXPLANATIONS.labels("computed" if missing else "cached").inc()
        return b"{" + b",".join(parts[kind] for kind in keys) + b"}"

    def warm(self) -> None:
        """Somebody may ask soon. See ``Explainer.warm``."""
        self._explainer.warm()

    async def close(self) -> None:
        """Stop."""
        await self._explainer.close()


class _PartCache:
    """Least-recently-used parts, bounded by their bytes."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._parts: OrderedDict[bytes, bytes] = OrderedDict()

    def get(self, key: bytes) -> bytes | None:
        part = self._parts.get(key)
        if part is not None:
            self._parts.move_to_end(key)
        return part

    def put(self, key: bytes, part: bytes) -> None:
        self._free += _cost(self._parts.pop(key, None)) - _cost(part)
        self._parts[key] = part
        while self._free < 0:
            _, oldest = self._parts.popitem(last=False)
            self._free += _cost(oldest)


def _cost(part: bytes | None) -> int:
    return 0 if part is None else len(part) + _OVERHEAD_BYTES
