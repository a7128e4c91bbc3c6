"""The domain's words, shared by every room: token ids, class probabilities, predictions.

A leaf module: of this project it imports the errors alone.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, NamedTuple, Protocol, TypeAlias, get_args

from app.errors import NoWordsError, ServiceError, TextError

PAD_ID = 0
"""Id of the padding token; its embedding never reaches a score."""

UNKNOWN_ID = 1
"""Id of every word that is not in the vocabulary."""

TokenIds = array
"""Token ids of one text as ``array('i')`` (32-bit signed), oldest word first, already truncated, never padded."""

TOKEN_TYPECODE = "i"

DEVICES = r"auto|cpu|cuda(:\d+)?"
"""Pattern of what may compute, as people name it."""

ExplanationKind = Literal["sentences", "tokens", "curve", "aspects"]
"""What can be explained: the sentiment of each sentence, what each token did, the score as the text is read, the
sentiment of what is said about each thing that is spoken of."""


class Encoding(NamedTuple):
    """One text after tokenizing.

    Attributes:
        ids: token ids of what is left after truncation, ``array('i')`` of length at most ``max_tokens``.
        tokens: number of tokens the whole text has, before truncation.
        truncated: whether tokens were left out.
        words: how many words the text has: tokens with letters (of preprocessing version 1, all tokens in ``ids``).
        unknown: how many of the words are not in the vocabulary.
        foreign: how many of the words are, but belong to other languages more than to English.
    """

    ids: TokenIds[int]
    tokens: int
    truncated: bool
    words: int
    unknown: int
    foreign: int


class TextBatch(NamedTuple):
    """Token ids of one text or of several, in one piece: the unit that goes from the tokenizer to the predictor.

    Attributes:
        ids: token ids of all texts, one text's behind the other's.
        lengths: how many of them each text has, at least one.
    """

    ids: TokenIds[int]
    lengths: list[int]

    def texts(self) -> list[TokenIds[int]]:
        """The token ids of each text."""
        if len(self.lengths) == 1:
            return [self.ids]
        ends = list(accumulate(self.lengths))
        return [self.ids[end - length : end] for length, end in zip(self.lengths, ends, strict=True)]


class EncodedTexts(NamedTuple):
    """Several texts after tokenizing; see ``Encoding``. A text without words has no tokens.

    Attributes:
        ids: token ids of all texts, one text's behind the other's.
        kept: how many of ``ids`` each text has.
        tokens: number of tokens each whole text has.
        words, unknown, foreign: see ``Encoding``.
    """

    ids: TokenIds[int]
    kept: list[int]
    tokens: list[int]
    words: list[int]
    unknown: list[int]
    foreign: list[int]

    def each(self) -> list[Encoding | NoWordsError]:
        """The encoding of each text, or that it has no words."""
        found: list[Encoding | NoWordsError] = []
        at = 0
        for kept, tokens, *counts in zip(*self[1:], strict=True):
            ids = self.ids[at : at + kept]
            found.append(Encoding(ids, tokens, tokens > kept, *counts) if tokens else NoWordsError())
            at += kept
        return found

    def with_words(self) -> EncodedTexts:
        """The same without the texts that have no tokens."""
        rows = [row for row in zip(*self[1:], strict=True) if row[0]]
        return EncodedTexts(self.ids, *map(list, zip(*rows, strict=True))) if rows else self


Judgement = Literal["ok", "unsure", "unreadable"]
"""How far to trust an answer: ``unsure`` where no class is probable enough, ``unreadable`` where the text is hardly of
words that the model knows: another language, code, random letters."""

JUDGEMENTS: tuple[Judgement, ...] = get_args(Judgement)


class Thresholds(NamedTuple):
    """When an answer is not to be trusted.

    Attributes:
        unsure_below: probability of the most probable class below which an answer is ``unsure``.
        unreadable_above: share of unknown and foreign words above which a text is ``unreadable``.
    """

    unsure_below: float
    unreadable_above: float

    def judge(self, probabilities: Sequence[float], words: int, strange: int) -> Judgement:
        """The judgement of a text of so many words, of which so many are unknown or foreign."""
        if strange > self.unreadable_above * words:
            return "unreadable"
        return "unsure" if max(probabilities) < self.unsure_below else "ok"


class Prediction(NamedTuple):
    """What the service says about one text.

    Attributes:
        probabilities: calibrated probability of every class, in the order of the checkpoint's labels; sums to 1.
        tokens: number of tokens the whole text has, before truncation.
        truncated: whether the network saw only the head and the tail of the text.
        cached: whether the result came out of a cache.
        rating: expected star rating, where the checkpoint has that output.
        unknown: share of the words that the model does not know.
        judgement: how far to trust it.
    """

    probabilities: tuple[float, ...]
    tokens: int
    truncated: bool
    cached: bool = False
    rating: float | None = None
    unknown: float = 0.0
    judgement: Judgement = "ok"

    def best(self, labels: Sequence[str]) -> tuple[str, float]:
        """The most probable label and its probability; the first of equals, so that ties are stable."""
        score = max(self.probabilities)
        return labels[self.probabilities.index(score)], score


Outcome: TypeAlias = Prediction | TextError | ServiceError
"""What becomes of a text: a prediction, or why there is none."""


class Scores(NamedTuple):
    """What the network computed for one text.

    Attributes:
        probabilities: class probabilities.
        rating: expected star rating, where the checkpoint has that output.
        computed: ``time.monotonic()`` before and after its batch's forward pass, where traces are asked for.
    """

    probabilities: tuple[float, ...]
    rating: float | None = None
    computed: tuple[float, float] | None = None


BatchScores: TypeAlias = Sequence[Scores | None]
"""Scores of each text of a batch, in order; None for a text whose forward pass failed."""


def prediction_of(
    probabilities: tuple[float, ...],
    rating: float | None,
    encoding: Encoding,
    thresholds: Thresholds,
) -> Prediction:
    """What is said of an encoded text that the network has scored."""
    return prediction_of_counts(probabilities, rating, *encoding[1:], thresholds)


def prediction_of_counts(
    probabilities: tuple[float, ...],
    rating: float | None,
    tokens: int,
    truncated: bool,
    words: int,
    unknown: int,
    foreign: int,
    thresholds: Thresholds,
) -> Prediction:
    """The same of a text of which only the counts are at hand, as in a table. See ``Encoding``."""
    judgement = thresholds.judge(probabilities, words, unknown + foreign)
    return Prediction(probabilities, tokens, truncated, False, rating, unknown / words if words else 0.0, judgement)


class Predictor(Protocol):
    """A forward pass of one model. Blocking; one call at a time per object.

    Attributes:
        runtime: what computes, for instance ``torch``.
        precision: arithmetic, for instance ``float32``.
        device: where, for instance ``cpu`` or ``cuda:0``.
        pads: whether texts of a batch are padded to the longest, so that like lengths are worth looking for. One that
            does not pad may be called from several threads at once.
    """

    runtime: str
    precision: str
    device: str
    pads: bool

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        """Scores of B texts, each of 1 to ``max_tokens`` tokens: exactly one per text, in order.

        Raises:
            MemoryError: the batch does not fit into the device's memory; a smaller one may.
        """
        ...
