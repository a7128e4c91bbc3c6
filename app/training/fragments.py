"""One or a few sentences out of longer texts: what short texts to train on look like."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from app.text.preprocessing import words

# After a stop, or a line break in HTML.
_BOUNDARY = re.compile(r"(?<=[.!?])[\"')\]]*\s+|(?:<br\s*/?>\s*)+")
_MOST_SENTENCES = 3
_FEWEST_WORDS, _MOST_WORDS = 2, 60


def draw_fragments(texts: Sequence[str], count: int, seed: int) -> list[str]:
    """``count`` runs of 1 to 3 neighbouring sentences of random texts, of 2 to 60 words; fewer where texts are few.

    Each text is drawn about equally often. Deterministic in its arguments.
    """
    random = np.random.default_rng(seed)
    drawn: list[str] = []
    for row in random.permutation(np.resize(np.arange(len(texts)), count if texts else 0)):
        sentences = [sentence for sentence in _BOUNDARY.split(texts[row]) if sentence]
        if not sentences:
            continue
        start, size = int(random.integers(len(sentences))), int(random.integers(1, _MOST_SENTENCES + 1))
        fragment = " ".join(sentences[start : start + size])
        if _FEWEST_WORDS <= len(words(fragment)) <= _MOST_WORDS:
            drawn.append(fragment)
    return drawn
