"""Runs of sentences out of longer texts: short texts to train on, and other views of the long ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app.text.preprocessing import words

# After a stop, or a line break in HTML.
_BOUNDARY = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?:<br\s*/?>\s*)+")
_MOST_SENTENCES = 3
_FEWEST_WORDS, _MOST_WORDS = 2, 60
_FEWEST_CROPPED = 5
_SMALLEST_SHARE, _LARGEST_SHARE = 0.2, 0.8


@dataclass(frozen=True)
class Fragments:
    """Parts of texts and where they are from.

    Attributes:
        texts: runs of neighbouring sentences.
        sources: which text each was cut out of.
    """

    texts: list[str]
    sources: list[int]

    def __add__(self, other: Fragments) -> Fragments:
        return Fragments(self.texts + other.texts, self.sources + other.sources)


def draw_fragments(texts: Sequence[str], count: int, seed: int) -> Fragments:
    """Runs of 1 to 3 neighbouring sentences of random texts, of 2 to 60 words.

    ``count`` are drawn, from each text about equally often; those of other lengths are left out. Deterministic in its
    arguments.
    """

    def fragment(sentences: Sequence[str], random: np.random.Generator) -> str:
        if not sentences:
            return ""
        start, size = int(random.integers(len(sentences))), int(random.integers(1, _MOST_SENTENCES + 1))
        drawn = " ".join(sentences[start : start + size])
        return drawn if _FEWEST_WORDS <= len(words(drawn)) <= _MOST_WORDS else ""

    return _drawn(texts, count, seed, fragment)


def draw_crops(texts: Sequence[str], count: int, seed: int) -> Fragments:
    """Runs of a fifth to four fifths of the sentences of random texts that have at least 5.

    ``count`` are drawn, from each text about equally often; those of shorter texts are left out. Deterministic in its
    arguments.
    """

    def crop(sentences: Sequence[str], random: np.random.Generator) -> str:
        if len(sentences) < _FEWEST_CROPPED:
            return ""
        size = round(len(sentences) * random.uniform(_SMALLEST_SHARE, _LARGEST_SHARE))
        start = int(random.integers(len(sentences) - size + 1))
        drawn = " ".join(sentences[start : start + size])
        return drawn if words(drawn) else ""

    return _drawn(texts, count, seed, crop)


def _drawn(
    texts: Sequence[str], count: int, seed: int, draw: Callable[[Sequence[str], np.random.Generator], str]
) -> Fragments:
    """What is drawn from the sentences of random texts; "" is left out."""
    random = np.random.default_rng(seed)
    drawn = Fragments([], [])
    for row in random.permutation(np.resize(np.arange(len(texts)), count if texts else 0)):
        if found := draw([sentence for sentence in _BOUNDARY.split(texts[row]) if sentence], random):
            drawn.texts.append(found)
            drawn.sources.append(int(row))
    return drawn
