"""Feedback for a running service: the right label of a text, from somebody who knows it. See docs/feedback.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sentiment_service.result import Result


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a service has kept, which has the text too.

    Attributes:
        model, version: what it is about.
        label: the right one.
        right: whether the answer was right; None where none was given.
    """

    model: str
    version: int
    label: str
    right: bool | None


def document_of(text: str, label: str, answer: Result | None, comment: str | None) -> dict[str, Any]:
    """The fields of ``POST /feedback``."""
    said = {} if answer is None else {"answered": answer.label, "model": answer.model, "version": answer.version}
    return {"text": text, "label": label, **said, **({} if comment is None else {"comment": comment})}


def feedback_of(kept: Mapping[str, Any]) -> Feedback:
    """What the service says that it has kept."""
    return Feedback(kept["model"], kept["version"], kept["label"], kept["right"])
