"""Orders of operators that change which models are loaded and served: one at a time, told, and in the audit log."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from app.errors import CheckpointError, SentimentError
from app.labels import parse_reference
from app.process.succession import Generation, SuccessionError
from app.store import ModelStore, StoredModel

log = logging.getLogger("app.audit")

ATTEMPTS = 20
"""How many of the last orders are told."""

NOBODY = "none"
"""Who has a share, for the audit log, where nobody has one."""

Order = Literal["model switch", "model load", "model unload", "canary", "shadow"]


class RefusedError(SentimentError):
    """An order is not carried out. The message says why.

    Attributes:
        code: stable machine-readable reason.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Orders:
    """The last orders, and the one that is under way."""

    def __init__(self) -> None:
        self._last: deque[dict[str, Any]] = deque(maxlen=ATTEMPTS)
        self._busy = threading.Lock()

    def newest_first(self) -> list[dict[str, Any]]:
        """The last ones."""
        return list(reversed(self._last))

    @contextmanager
    def one(self, order: Order, asked: str, who: str, done: str, state: Callable[[], str]) -> Iterator[dict[str, Any]]:
        """Carry an order out in this block; what is known of it may be added to what the block is given.

        Args:
            order: what is to be done.
            asked: for what.
            who: asks for it.
            done: what is said where it succeeds.
            state: tells what the order changes, as it is now.

        Raises:
            RefusedError: another one is under way, or the system refuses what the order needs.
        """
        if not self._busy.acquire(blocking=False):
            raise RefusedError("load_under_way", "another order is under way; GET /admin/models tells")
        try:
            before, started = state(), time.monotonic()
            attempt: dict[str, Any] = {"order": order, "asked": asked, "by": who, "at": now(), "outcome": "under way"}
            self._last.append(attempt)
            try:
                yield attempt
                attempt["outcome"] = done
            except RefusedError as error:
                attempt |= {"outcome": "refused", "reason": str(error)}
                raise
            except OSError as error:
                reason = f"{asked}: the system refuses what it needs ({error.strerror or type(error).__name__})"
                attempt |= {"outcome": "refused", "reason": reason}
                raise RefusedError("model_refused", reason) from error
            except BaseException:
                attempt |= {"outcome": "refused", "reason": "an unexpected error occurred; it has been logged"}
                raise
            finally:
                attempt["seconds"] = round(time.monotonic() - started, 1)
                told = {"by": who, "asked": asked, "from": before, "to": state()}
                told |= {name: attempt[name] for name in ("seconds", "reason") if name in attempt}
                log.warning("%s: %s", order, attempt["outcome"], extra=told)
        finally:
            self._busy.release()


def resolved(store: ModelStore, reference: str) -> str:
    """The NAME/VERSION that somebody asked for.

    Raises:
        RefusedError: it is not there.
    """
    try:
        return "{}/{}".format(*store.resolve(reference))
    except CheckpointError as error:
        raise RefusedError("model_not_found", told_without(store, error)) from error


def loaded_name(store: ModelStore, reference: str) -> str:
    """Likewise of what may be loaded, so that a version is known by its number also where it is in the store no more.

    Raises:
        RefusedError: it is no reference, or a label that is not there.
    """
    try:
        name, version, _ = parse_reference(reference)
    except CheckpointError as error:
        raise RefusedError("model_not_found", str(error)) from error
    return resolved(store, reference) if version is None else f"{name}/{version}"


def opened(store: ModelStore, reference: str) -> StoredModel:
    """A version that somebody asked for.

    Raises:
        RefusedError: it is not there, or damaged.
    """
    resolved(store, reference)
    try:
        return store.open(reference)
    except CheckpointError as error:
        raise RefusedError("model_refused", told_without(store, error)) from error


def wait_until_live(generation: Generation, seconds: float, store: ModelStore, model: StoredModel) -> None:
    """Wait until the processes of a model do what they were ordered to.

    Raises:
        RefusedError: they do not come to it.
    """
    try:
        generation.live.result(seconds)
    except SuccessionError as error:
        raise RefusedError("model_refused", f"{model.reference}: {told_without(store, error)}") from error
    except TimeoutError as error:
        raise RefusedError("model_refused", f"{model.reference}: the service is ending") from error


def check_alike(model: StoredModel, present: StoredModel) -> None:
    """Whether clients of the one could be clients of the other.

    Raises:
        RefusedError: they could not.
    """
    if (model.config.labels, model.config.rating) != (present.config.labels, present.config.rating):
        raise RefusedError(
            "model_refused",
            f"{model.reference} answers otherwise than {present.reference}, which clients may rely on: labels "
            f"{', '.join(model.config.labels)} with{'' if model.config.rating else 'out'} rating; start the "
            "service with it instead",
        )


def told_without(store: ModelStore, error: object) -> str:
    """A message for clients, whom it is no business where the store is."""
    return str(error).replace(f"{store.root}/", "").replace(f"{store.root}: ", "")


def now() -> str:
    """The time in UTC, as RFC 3339 writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def describe(model: StoredModel, label: str | None, since: str) -> dict[str, Any]:
    """A version that is loaded, for people and programs.

    Args:
        model: the version.
        label: by which it was asked for.
        since: when it was loaded.
    """
    return {"model": model.name, "version": model.version, "digest": model.digest, "label": label, "since": since}
