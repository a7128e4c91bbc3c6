"""One or a few sentences out of longer texts: what short texts to train on look like."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.text.preprocessing import words

# After a stop, or a line break in HTML.
_BOUNDARY = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?:<br\s*/?>\s*)+")
_MOST_SENTENCES = 3
_FEWEST_WORDS, _MOST_WORDS = 2, 60


@dataclass(frozen=True)
class Fragments:
    """Short texts and where they are from.

    Attributes:
        texts: runs of neighbouring sentences.
        sources: which text each was cut out of.
    """

    texts: list[str]
    sources: list[int]


def draw_fragments(texts: Sequence[str], count: int, seed: int) -> Fragments:
    """Runs of 1 to 3 neighbouring sentences of random texts, of 2 to 60 words.

    ``count`` are drawn, from each text about equally often; those of other lengths are left out. Deterministic in its
    arguments.
    """
    random = np.random.default_rng(seed)
    drawn = Fragments([], [])
    for row in random.permutation(np.resize(np.arange(len(texts)), count if texts else 0)):
        sentences = [sentence for sentence in _BOUNDARY.split(texts[row]) if sentence]
        if not sentences:
            continue
        start, size = int(random.integers(len(sentences))), int(random.integers(1, _MOST_SENTENCES + 1))
        fragment = " ".join(sentences[start : start + size])
        if _FEWEST_WORDS <= len(words(fragment)) <= _MOST_WORDS:
            drawn.texts.append(fragment)
            drawn.sources.append(int(row))
    return drawn
