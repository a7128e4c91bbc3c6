"""Explanations of one model's answers: sentences and aspects by what computes scores, tokens by PyTorch's gradients.

Imports torch only for tokens: the rest is explained without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import accumulate, groupby
from statistics import fmean
from typing import TYPE_CHECKING, Any

from app.errors import ExplainerUnavailableError, NoWordsError
from app.model.curves import Curve, ForwardReader, curve_of_beginnings, probabilities_in_batches
from app.model.runtimes import NEEDS_TORCH, load_predictor, resolve_device, torch_missing
from app.model.weights import read_weights
from app.sentiment import ExplanationKind, TokenIds
from app.store import StoredModel
from app.text.aspects import mentions
from app.text.preprocessing import Span
from app.text.sentences import sentence_spans
from app.text.tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from app.model.networks import SentimentNetwork

logger = logging.getLogger(__name__)

_DIGITS = 6
_RETRY_SECONDS = 60.0
"""When a client may ask again for what needs an operator first."""


def _part(start: int, end: int) -> dict[str, int]:
    return {"start": start, "end": end}


def _offsets(span: Span) -> tuple[int, int]:
    return span.start, span.end


class NetworkExplainer:
    """Explains texts with one network. Blocking; one call at a time.

    Args:
        model: an opened version.
        device: ``auto``, ``cpu`` or ``cuda[:index]``.
        alone: whether nothing else computes in this process, so that torch may be held to one thread.

    Raises:
        CheckpointError: the weights or the tokenizer are unusable.
        SettingsError: the device is not to be had.
    """

    def __init__(self, model: StoredModel, device: str = "cpu", *, alone: bool = False) -> None:
        self._model = model
        self._config = model.config
        self._alone = alone
        self._device = resolve_device(device, "SENTIMENT_EXPLAIN_DEVICE")
        self._tokenizer: Tokenizer = load_tokenizer(model)
        weights = read_weights(model.path, model.config)
        self._predictor = load_predictor(model, self._device, precision="float32")
        self._reader = None if self._config.bidirectional else ForwardReader(weights, self._config)
        self._network: SentimentNetwork | None = None

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

        Raises:
            ExplainerUnavailableError: tokens are to be explained and there is no torch.
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
            curve = self._curve(ids, ends, target, check)
            return {"curve": [{**spans[index], "score": round(score, _DIGITS)} for index, score in curve]}
        network = self._loaded()
        from app.model.attribution import integrated_gradients

        found = integrated_gradients(network, ids.tolist(), target, check)
        sums = [sum(found.tokens[end - count : end]) for end, (_, count) in zip(ends, pieces, strict=True)]
        tokens = [{**span, "attribution": round(value, _DIGITS)} for span, value in zip(spans, sums, strict=True)]
        log_odds = {"baseline": round(found.baseline, _DIGITS), "text": round(found.text, _DIGITS)}
        return {"tokens": tokens, "log_odds": log_odds}

    def _curve(self, ids: TokenIds[int], ends: Sequence[int], target: int, check: Callable[[], None]) -> Curve:
        if self._reader is None:
            return curve_of_beginnings(self._predictor, ids, ends, target, check)
        return self._reader.curve(ids, ends, target, check)

    def _loaded(self) -> SentimentNetwork:
        """The network in float64, loaded with the first tokens."""
        if self._network is not None:
            return self._network
        if torch_missing():
            raise ExplainerUnavailableError(
                f"explain: tokens {NEEDS_TORCH}; sentences and curve are explained without it", _RETRY_SECONDS
            )
        try:
            import torch

            from app.model.checkpoint import load_network

            if self._alone:
                torch.set_num_threads(1)
            network = load_network(self._model.path, self._config).to(self._device, torch.float64)
        except Exception as error:
            logger.exception("tokens cannot be explained")
            raise ExplainerUnavailableError(
                "explain: tokens cannot be computed, the service's log says why; sentences and curve can",
                _RETRY_SECONDS,
            ) from error
        self._network = network.requires_grad_(False)
        return self._network

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
