"""The answers of ``POST /classify``, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from app.errors import ServiceError
from app.http.problems import entry_of, problem_of
from app.sentiment import Outcome, Prediction
from app.store import StoredModel

Explained = Sequence[orjson.Fragment | None]
"""The explanation of each text, None where it has none; empty where none is asked for."""


class BatchAnswer:
    """The answer to a request with several texts, written as they are done: the last is not to wait for the others.

    Args:
        model: what classifies them.
        texts: how many.
        foreign: see ``ClassifyRequest.foreign``.
    """

    def __init__(self, model: StoredModel, texts: int, *, foreign: bool) -> None:
        self._model = model
        self._foreign = foreign
        self._entries: list[orjson.Fragment | None] = [None] * texts

    def add(self, found: Sequence[tuple[int, Outcome]]) -> None:
        """Write the entries of some texts, whose places are given."""
        labels = self._model.config.labels
        for index, outcome in found:
            self._entries[index] = orjson.Fragment(orjson.dumps(_entry(outcome, labels, foreign=self._foreign)))

    def render(self, outcomes: Sequence[Outcome], explanations: Explained = ()) -> bytes:
        """The JSON, with the entries of all texts, and their explanations where they were asked for.

        Raises:
            ServiceError: none of them has a prediction, all for the same reason.
        """
        first, model = outcomes[0], self._model
        if isinstance(first, ServiceError) and all(type(outcome) is type(first) for outcome in outcomes):
            raise first
        for index, outcome in enumerate(outcomes):
            if self._entries[index] is None:
                explanation = explanations[index] if explanations else None
                entry = _entry(outcome, model.config.labels, explanation, foreign=self._foreign)
                self._entries[index] = orjson.Fragment(orjson.dumps(entry))
        return orjson.dumps({"model": model.name, "version": model.version, "results": self._entries})


def single_answer(
    outcome: Outcome, model: StoredModel, explanation: orjson.Fragment | None = None, *, foreign: bool = False
) -> bytes:
    """The JSON that answers a request with one text.

    Raises:
        Problem: the text has no prediction.
    """
    if not isinstance(outcome, Prediction):
        raise problem_of(outcome)
    entry = _entry(outcome, model.config.labels, explanation, foreign=foreign)
    entry["model"], entry["version"] = model.name, model.version
    return orjson.dumps(entry)


def _entry(
    outcome: Outcome, labels: Sequence[str], explanation: orjson.Fragment | None = None, *, foreign: bool
) -> dict[str, Any]:
    if not isinstance(outcome, Prediction):
        return entry_of(outcome)
    label, score = outcome.best(labels)
    entry: dict[str, Any] = {
        "label": label,
        "score": score,
        "scores": dict(zip(labels, outcome.probabilities, strict=True)),
        "tokens": outcome.tokens,
        "truncated": outcome.truncated,
        "cached": outcome.cached,
    }
    if outcome.rating is not None:
        entry["rating"] = outcome.rating
    entry["unknown"], entry["judgement"] = outcome.unknown, "unreadable" if foreign else outcome.judgement
    if explanation is not None:
        entry["explanation"] = explanation
    return entry
