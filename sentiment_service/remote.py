"""Texts scored by a running service."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from app.errors import TextError
from app.files.exchange import Entry, error_of
from app.files.remote import RemoteService
from app.labels import parse_reference
from app.sentiment import ExplanationKind
from sentiment_service.result import Outcome, Result, Unclassified


class Remote:
    """A running service.

    Args:
        url: its address.
        key: an API key, where it asks for one.
        concurrency: most requests at once.
        patience: seconds that a request is tried again before it is given up.
        model: NAME, NAME/VERSION or NAME@LABEL of what it has loaded; None: what it serves.

    Raises:
        ServiceError: that is no address.
        CheckpointError: that is not the name of a model.
    """

    def __init__(self, url: str, key: str | None, concurrency: int, patience: float, model: str | None) -> None:
        self._service = RemoteService(url, concurrency, headers_of(key), patience, model=named(model))

    def start(
        self, texts: Sequence[object], deadline: float | None, stopped: threading.Event | None = None
    ) -> Callable[[], list[Outcome]]:
        """Begin with some texts; the call that is returned waits for the outcome of each, in order."""
        wait = self._service.start(texts, deadline, stopped)
        return lambda: list(map(outcome_of, wait()))

    def explain(
        self, text: str, kinds: Sequence[ExplanationKind], aspects: Sequence[str], deadline: float | None
    ) -> tuple[Result, dict[str, Any]]:
        """What is said of a text, and why, as the HTTP answer has it."""
        entry = self._service.carry(self._service.exchange.explain(text, kinds, aspects, deadline))
        return result_of(entry), entry["explanation"]

    def feedback(self, document: dict[str, Any], deadline: float | None) -> dict[str, Any]:
        """Have feedback kept; what the service says that it has kept."""
        return self._service.carry(self._service.exchange.feedback(document, deadline))

    def close(self) -> None:
        """Close the connections."""
        self._service.close()


def named(model: str | None) -> str | None:
    """What a model is called, if it may be called so.

    Raises:
        CheckpointError: it may not.
    """
    if model is not None:
        parse_reference(model)
    return model


def headers_of(key: str | None) -> dict[str, str]:
    """The headers that say who asks."""
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def outcome_of(entry: Entry | TextError) -> Outcome:
    """What the service says of one text."""
    if isinstance(entry, TextError):
        return Unclassified(entry)
    return Unclassified(error_of(entry["error"])) if "error" in entry else result_of(entry)


def result_of(entry: Entry) -> Result:
    """What the service says of a text that it has classified."""
    return Result(
        entry["label"],
        entry["score"],
        entry["scores"],
        entry.get("rating"),
        entry["unknown"],
        entry["judgement"],
        entry["tokens"],
        entry["truncated"],
        entry["model"],
        entry["version"],
    )
