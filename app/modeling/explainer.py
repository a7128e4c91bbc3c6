"""Explanations of one model's answers, by its reference network in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, groupby, islice
from typing import Any

import torch

from app.errors import NoWordsError
from app.modeling.attribution import integrated_gradients
from app.modeling.batching import pad
from app.modeling.checkpoint import load_network
from app.modeling.predictor import probabilities_of
from app.modeling.reading import reading_curve
from app.sentiment import ExplanationKind, TokenIds
from app.store import StoredModel
from app.text.preprocessing import Span
from app.text.sentences import sentence_spans
from app.text.tokenizer import Tokenizer, load_tokenizer

_BATCH_TOKENS = 16_384
_DIGITS = 6


def use_one_thread() -> None:
    """Let what the calling thread computes from now on stay in it."""
    torch.set_num_threads(1)


def _offsets(span: Span) -> tuple[int, int]:
    return span.start, span.end


class NetworkExplainer:
    """Explains texts with one network. Blocking; one call at a time.

    Args:
        model: an opened version.
        device: ``cpu`` or ``cuda[:index]``.

    Raises:
        CheckpointError: the weights or the tokenizer are unusable.
    """

    def __init__(self, model: StoredModel, device: str = "cpu") -> None:
        self._config = model.config
        self._tokenizer: Tokenizer = load_tokenizer(model)
        self._network = load_network(model.path, model.config).to(device, torch.float64).requires_grad_(False)

    def explain(
        self, text: str, kind: ExplanationKind, target: int, check: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """The members of an explanation that belong to one kind, ready for JSON; offsets count code points of ``text``.

        Args:
            text: has at least one word.
            kind: what to explain.
            target: index of the class whose score is explained.
            check: called often; stops the work by raising.
        """
        if kind == "sentences":
            return {"sentences": self._sentences(text, check)}
        ids = self._tokenizer.encode(text).ids.tolist()
        # The pieces that an unknown word was cut into have the offsets of the word, which is what people see.
        pieces = [(offsets, len(list(some))) for offsets, some in groupby(self._tokenizer.spans(text), _offsets)]
        spans = [{"start": start, "end": end} for (start, end), _ in pieces]
        ends = list(accumulate(count for _, count in pieces))
        if kind == "curve":
            curve = reading_curve(self._network, ids, ends, target, check)
            return {"curve": [{**spans[index], "score": round(score, _DIGITS)} for index, score in curve]}
        found = integrated_gradients(self._network, ids, target, check)
        sums = [sum(found.tokens[end - count : end]) for end, (_, count) in zip(ends, pieces, strict=True)]
        tokens = [{**span, "attribution": round(value, _DIGITS)} for span, value in zip(spans, sums, strict=True)]
        log_odds = {"baseline": round(found.baseline, _DIGITS), "text": round(found.text, _DIGITS)}
        return {"tokens": tokens, "log_odds": log_odds}

    def _sentences(self, text: str, check: Callable[[], None]) -> list[dict[str, Any]]:
        """Each sentence that has a word, scored as a text of its own."""
        found = []
        for start, end in sentence_spans(text):
            try:
                found.append((start, end, self._tokenizer.encode(text[start:end]).ids))
            except NoWordsError:
                continue
        probabilities: list[list[float]] = []
        longest = max((len(ids) for _, _, ids in found), default=1)
        waiting = iter(ids for _, _, ids in found)
        while batch := list(islice(waiting, max(1, _BATCH_TOKENS // longest))):
            check()
            probabilities += self._probabilities(batch)
        return [self._sentence(start, end, row) for (start, end, _), row in zip(found, probabilities, strict=True)]

    @torch.inference_mode()
    def _probabilities(self, batch: Sequence[TokenIds[int]]) -> list[list[float]]:
        ids, lengths = pad(batch)
        device = self._network.embedding.weight.device
        logits = self._network(ids.to(device), lengths.to(device)).logits
        rows: list[list[float]] = probabilities_of(logits, self._config.temperature).tolist()
        return rows

    def _sentence(self, start: int, end: int, probabilities: list[float]) -> dict[str, Any]:
        score = max(probabilities)
        scores = {label: round(value, _DIGITS) for label, value in zip(self._config.labels, probabilities, strict=True)}
        label = self._config.labels[probabilities.index(score)]
        return {"start": start, "end": end, "label": label, "score": scores[label], "scores": scores}
