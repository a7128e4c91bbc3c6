"""Explanations of one model's answers: sentences and aspects by what computes scores, tokens and curve in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import accumulate, groupby
from statistics import fmean
from typing import Any

from app.errors import NoWordsError
from app.model.attribution import integrated_gradients
from app.model.curves import curve_of, curve_of_beginnings, probabilities_in_batches
from app.model.double_network import DoubleNetwork
from app.model.runtimes import load_predictor, resolve_device
from app.model.weights import read_weights
from app.sentiment import ExplanationKind
from app.store import StoredModel
from app.text.aspects import mentions
from app.text.preprocessing import Span
from app.text.sentences import sentence_spans
from app.text.tokenizer import Tokenizer, load_tokenizer

_DIGITS = 6


def _part(start: int, end: int) -> dict[str, int]:
    return {"start": start, "end": end}


def _offsets(span: Span) -> tuple[int, int]:
    return span.start, span.end


class NetworkExplainer:
    """Explains texts with one network. Blocking; one call at a time.

    Args:
        model: an opened version.
        device: ``auto``, ``cpu`` or ``cuda[:index]``, of what scores sentences, aspects and beginnings.

    Raises:
        CheckpointError: the weights or the tokenizer are unusable.
        SettingsError: the device is not to be had.
    """

    def __init__(self, model: StoredModel, device: str = "cpu") -> None:
        self._config = model.config
        device = resolve_device(device, "SENTIMENT_EXPLAIN_DEVICE")
        self._tokenizer: Tokenizer = load_tokenizer(model)
        self._network = DoubleNetwork(read_weights(model.path, model.config), model.config)
        self._predictor = load_predictor(model, device, precision="float32")

    def explain(
        self,
        text: str,
        kind: ExplanationKind,
        target: int,
        check: Callable[[], None] = lambda: None,
        aspects: Sequence[str] = (),
    ) -> dict[str, Any]:
        """The members of an explanation that belong to one kind, ready for JSON; offsets count code points of ``text``.

        Args:
            text: has at least one word.
            kind: what to explain.
            target: index of the class whose score is explained.
            check: called often; stops the work by raising.
            aspects: what to look for; none: what the text speaks of.
        """
        if kind == "sentences":
            return {"sentences": self._sentences(text, check)}
        if kind == "aspects":
            return {"aspects": self._aspects(text, aspects, check)}
        ids = self._tokenizer.encode(text).ids
        # The pieces that an unknown word was cut into have the offsets of the word, which is what people see.
        pieces = [(offsets, len(list(some))) for offsets, some in groupby(self._tokenizer.spans(text), _offsets)]
        spans = [{"start": start, "end": end} for (start, end), _ in pieces]
        ends = list(accumulate(count for _, count in pieces))
        if kind == "curve":
            if self._config.bidirectional:
                curve = curve_of_beginnings(self._predictor, ids, ends, target, check)
            else:
                curve = curve_of(self._network, ids, ends, target, check)
            return {"curve": [{**spans[index], "score": round(score, _DIGITS)} for index, score in curve]}
        found = integrated_gradients(self._network, ids, target, check)
        sums = [sum(found.tokens[end - count : end]) for end, (_, count) in zip(ends, pieces, strict=True)]
        tokens = [{**span, "attribution": round(value, _DIGITS)} for span, value in zip(spans, sums, strict=True)]
        log_odds = {"baseline": round(found.baseline, _DIGITS), "text": round(found.text, _DIGITS)}
        return {"tokens": tokens, "log_odds": log_odds}

    def _sentences(self, text: str, check: Callable[[], None]) -> list[dict[str, Any]]:
        """Each sentence that has a word, scored as a text of its own."""
        rows = self._scored(text, sentence_spans(text), check)
        return [{**_part(*span), **self._said(row)} for span, row in rows.items()]

    def _aspects(self, text: str, wanted: Sequence[str], check: Callable[[], None]) -> list[dict[str, Any]]:
        """What is said about each aspect, scored as texts of its own: the mean of all its mentions."""
        found = mentions(text, wanted)
        rows = self._scored(text, dict.fromkeys((it.said_start, it.said_end) for it in found), check)
        told = []
        for aspect in dict.fromkeys(wanted or (it.aspect for it in found)):
            its = [it for it in found if it.aspect == aspect and (it.said_start, it.said_end) in rows]
            if its:
                columns = zip(*(rows[it.said_start, it.said_end] for it in its), strict=True)
                places = [{**_part(it.start, it.end), "said": _part(it.said_start, it.said_end)} for it in its]
                told.append({"aspect": aspect, **self._said([fmean(it) for it in columns]), "mentions": places})
        return told

    def _scored(
        self, text: str, spans: Iterable[tuple[int, int]], check: Callable[[], None]
    ) -> dict[tuple[int, int], Sequence[float]]:
        """Probabilities of parts of a text that have a word, as texts of their own."""
        found = {}
        for start, end in spans:
            with suppress(NoWordsError):
                found[start, end] = self._tokenizer.encode(text[start:end]).ids
        return dict(zip(found, probabilities_in_batches(self._predictor, list(found.values()), check), strict=True))

    def _said(self, probabilities: Sequence[float]) -> dict[str, Any]:
        score = max(probabilities)
        scores = {label: round(value, _DIGITS) for label, value in zip(self._config.labels, probabilities, strict=True)}
        label = self._config.labels[probabilities.index(score)]
        return {"label": label, "score": scores[label], "scores": scores}
