"""Who scores the texts of a window: the interface, and the engine of this process behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Protocol, TypeVar

from app.errors import BlankTextError, EmptyCellError, InferenceError, TextError
from app.sentiment import Encoding, Outcome, Predictor, Scores, Thresholds, TokenIds, prediction_of
from app.text.tokenizer import Tokenizer

T = TypeVar("T")

_BATCH_TEXTS = 256
_BATCH_TOKENS = 65_536


class Scorer(Protocol):
    """Scores texts.

    Attributes:
        identity: model, and what else decides a score.
        labels: names of the classes.
        rating: whether there are ratings.
    """

    identity: str
    labels: Sequence[str]
    rating: bool

    def start(self, texts: Sequence[object]) -> Callable[[], list[Outcome]]:
        """Begin with some texts; the call that is returned waits for their outcomes, one each, in order.

        The call raises:
            ServiceError: nothing can be scored any more.
        """
        ...

    def close(self) -> None:
        """Give up what is begun."""
        ...


class LocalScorer:
    """Scores in this process: tokenizes in the calling thread while other threads compute.

    Args:
        identity: see ``Scorer``.
        labels: see ``Scorer``.
        rating: see ``Scorer``.
        tokenizer: the model's tokenizer.
        thresholds: when an answer is not to be trusted.
        predictors: forward passes, each for one thread at a time.
    """

    def __init__(
        self,
        identity: str,
        labels: Sequence[str],
        rating: bool,
        tokenizer: Tokenizer,
        thresholds: Thresholds,
        predictors: Sequence[Predictor],
    ) -> None:
        self.identity = identity
        self.labels = labels
        self.rating = rating
        self._tokenizer = tokenizer
        self._thresholds = thresholds
        self._pool = ThreadPoolExecutor(len(predictors), thread_name_prefix="score")
        self._idle: SimpleQueue[Predictor] = SimpleQueue()
        for predictor in predictors:
            self._idle.put(predictor)

    def start(self, texts: Sequence[object]) -> Callable[[], list[Outcome]]:
        """See ``Scorer.start``. Batches are of texts of like length, the longest first."""
        outcomes: list[Outcome | None] = [refusal(text) for text in texts]
        wanted = [index for index, outcome in enumerate(outcomes) if outcome is None]
        encoded = self._tokenizer.encode_all([str(texts[index]) for index in wanted])
        encodings: list[tuple[int, Encoding]] = []
        for index, encoding in zip(wanted, encoded, strict=True):
            if isinstance(encoding, Encoding):
                encodings.append((index, encoding))
            else:
                outcomes[index] = encoding
        encodings.sort(key=lambda entry: len(entry[1].ids), reverse=True)
        begun = []
        while encodings:
            size = max(1, min(_BATCH_TEXTS, _BATCH_TOKENS // len(encodings[0][1].ids)))
            batch, encodings = encodings[:size], encodings[size:]
            begun.append((batch, self._pool.submit(self._predict, [encoding.ids for _, encoding in batch])))

        def wait() -> list[Outcome]:
            for batch, future in begun:
                for (index, encoding), scores in zip(batch, future.result(), strict=True):
                    outcomes[index] = _outcome(encoding, scores, self._thresholds)
            return [outcome for outcome in outcomes if outcome is not None]

        return wait

    def close(self) -> None:
        """See ``Scorer.close``."""
        self._pool.shutdown(cancel_futures=True)

    def _predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores | None]:
        predictor = self._idle.get()
        try:
            return _predict_or_split(predictor, batch)
        finally:
            self._idle.put(predictor)


def refusal(text: object) -> TextError | None:
    """Why something cannot be classified, where that can be seen without a tokenizer."""
    if text is None:
        return EmptyCellError()
    if isinstance(text, TextError):
        return text
    if not isinstance(text, str):
        return TextError("not a text")
    return BlankTextError() if not text or text.isspace() else None


def cut(texts: Iterable[T], most: int, characters: int) -> Iterator[list[T]]:
    """Texts in pieces, each of at most so many texts and, unless it is of one, so many characters."""
    piece: list[T] = []
    size = 0
    for text in texts:
        length = len(text) if isinstance(text, str) else 0
        if piece and (len(piece) >= most or size + length > characters):
            yield piece
            piece, size = [], 0
        piece.append(text)
        size += length
    if piece:
        yield piece


def _predict_or_split(predictor: Predictor, batch: Sequence[TokenIds[int]]) -> list[Scores | None]:
    """Scores; None for a text that does not fit into memory even alone."""
    try:
        return list(predictor.predict(batch))
    except MemoryError:
        if len(batch) == 1:
            return [None]
    middle = len(batch) // 2
    return _predict_or_split(predictor, batch[:middle]) + _predict_or_split(predictor, batch[middle:])


def _outcome(encoding: Encoding, scores: Scores | None, thresholds: Thresholds) -> Outcome:
    if scores is None or not all(map(math.isfinite, scores.probabilities)):
        return InferenceError("the forward pass failed for this text")
    return prediction_of(scores.probabilities, scores.rating, encoding, thresholds)
