"""Which model is served, and how another one comes to be: resolved, checked, prepared beside it, and put in its place.

Runs in the supervisor's process, in threads beside its loop. Nothing that is wrong with a model touches the one that is
served: it is opened here, and then loaded and tried by processes that nobody has met yet (see ``process.succession``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.errors import CheckpointError, SentimentError
from app.labels import LABELS_FILE, parse_reference
from app.process.control import LONGEST_LOAD
from app.process.cores import free_memory
from app.process.succession import Generation, Succession, SuccessionError
from app.store import ModelStore, StoredModel

logger = logging.getLogger(__name__)
audit = logging.getLogger("app.audit")

ATTEMPTS = 20
"""How many of the last attempts are told."""
FOLLOW_SECONDS = 2.0
"""Between two looks at the labels."""
LABEL = "label"
"""Who asks for a model where a label was moved on disk."""


class RefusedError(SentimentError):
    """Another model does not come to be served. The message says why.

    Attributes:
        code: stable machine-readable reason.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Served:
    """What is served."""

    model: StoredModel
    label: str | None
    """By which it was asked for."""
    since: str

    def document(self) -> dict[str, Any]:
        """For people and programs."""
        return {
            "model": self.model.name,
            "version": self.model.version,
            "digest": self.model.digest,
            "label": self.label,
            "since": self.since,
        }


class Switching:
    """Puts another model in the place of the one that is served, one at a time.

    Args:
        store: where models are.
        succession: of the processes.
        generation_of: makes the processes of a model, not yet started.
        served: what is served first.
    """

    def __init__(
        self,
        store: ModelStore,
        succession: Succession,
        generation_of: Callable[[StoredModel], Generation],
        served: Served,
    ) -> None:
        self._store = store
        self._succession = succession
        self._generation_of = generation_of
        self._served = served
        self._attempts: deque[dict[str, Any]] = deque(maxlen=ATTEMPTS)
        self._busy = threading.Lock()

    def answer(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer a worker: what is served, or why another model is not. See ``process.control``."""
        if question["do"] == "load":
            try:
                self.load(str(question["model"]), str(question["who"]))
            except RefusedError as error:
                return {"error": {"code": error.code, "detail": str(error)}}
        return self.document()

    def document(self) -> dict[str, Any]:
        """What is served, and the last attempts to serve something else, newest first."""
        return {"served": self._served.document(), "attempts": list(reversed(self._attempts))}

    def load(self, reference: str, who: str) -> None:
        """Serve another model. Returns when no process of the one before takes new connections.

        Args:
            reference: which.
            who: asks for it, for the audit log.

        Raises:
            RefusedError: it does not come to be; what was served still is.
        """
        if not self._busy.acquire(blocking=False):
            raise RefusedError("load_under_way", "another model is just being loaded; GET /admin/models tells")
        try:
            self._load(reference, who)
        finally:
            self._busy.release()

    def follow(self, reference: str, stop: threading.Event) -> None:
        """Serve what a label names, whenever that changes, until told to stop."""
        path = self._store.root / parse_reference(reference).name / LABELS_FILE
        seen = None
        while not stop.wait(FOLLOW_SECONDS):
            if (stamp := _stamp(path)) == seen:
                continue
            seen = stamp
            try:
                if "{}/{}".format(*self._store.resolve(reference)) != self._served.model.reference:
                    self.load(reference, LABEL)
            except RefusedError as error:
                if error.code == "load_under_way":
                    seen = None  # looked at again
            except CheckpointError as error:
                logger.error("the labels cannot be followed: %s", error)

    def _load(self, reference: str, who: str) -> None:
        before, started = self._served, time.monotonic()
        attempt: dict[str, Any] = {"asked": reference, "by": who, "at": now(), "outcome": "under way"}
        self._attempts.append(attempt)
        try:
            model = self._opened(reference)
            attempt["version"] = model.reference
            since = before.since
            if (model.reference, model.digest) != (before.model.reference, before.model.digest):
                self._check(model)
                self._change(model)
                since = now()
            self._served = Served(model, parse_reference(reference).label, since)
        except RefusedError as error:
            attempt |= {"outcome": "refused", "reason": str(error)}
            raise
        else:
            attempt["outcome"] = "served"
        finally:
            attempt["seconds"] = round(time.monotonic() - started, 1)
            told = {"by": who, "asked": reference, "from": before.model.reference, "to": self._served.model.reference}
            told |= {name: attempt[name] for name in ("seconds", "reason") if name in attempt}
            audit.warning("model switch: %s", attempt["outcome"], extra=told)

    def _opened(self, reference: str) -> StoredModel:
        try:
            self._store.resolve(reference)
        except CheckpointError as error:
            raise RefusedError("model_not_found", self._told(error)) from error
        try:
            return self._store.open(reference)
        except CheckpointError as error:
            raise RefusedError("model_refused", self._told(error)) from error

    def _told(self, error: Exception) -> str:
        """For clients, whom it is no business where the store is."""
        return str(error).replace(f"{self._store.root}/", "").replace(f"{self._store.root}: ", "")

    def _check(self, model: StoredModel) -> None:
        """Whether clients of the one could be clients of the other, and both fit into memory for a while."""
        present = self._served.model
        if (model.config.labels, model.config.rating) != (present.config.labels, present.config.rating):
            raise RefusedError(
                "model_refused",
                f"{model.reference} answers otherwise than {present.reference}, which clients may rely on: labels "
                f"{', '.join(model.config.labels)} with{'' if model.config.rating else 'out'} rating; start the "
                "service with it instead",
            )
        children = self._succession.serving.children
        held = sum(_resident(child.process.pid) for child in children if child.process and child.wake is None)
        needed, free = held + max(0, model.size - present.size), free_memory()
        if needed > free:
            raise RefusedError(
                "model_refused",
                f"{model.reference} beside {present.reference} needs about {needed / 1e6:.0f} MB, and "
                f"{free / 1e6:.0f} MB are free; raise the memory limit, or start the service with it instead",
            )

    def _change(self, model: StoredModel) -> None:
        generation = self._generation_of(model)
        self._succession.take_over(generation)
        try:
            generation.live.result(LONGEST_LOAD)
        except SuccessionError as error:
            raise RefusedError("model_refused", f"{model.reference}: {self._told(error)}") from error
        except TimeoutError as error:
            raise RefusedError("model_refused", f"{model.reference}: the service is ending") from error


def now() -> str:
    """The time in UTC, as RFC 3339 writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds; 0 where it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
