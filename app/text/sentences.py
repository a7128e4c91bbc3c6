"""Where the sentences of a text are, by a trained Punkt model (Kiss and Strunk 2006) that nupunkt brings."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nupunkt import sent_spans

# A line break or a tag that makes one ends a sentence, whatever the punctuation. Bounded as in ``preprocessing``.
_BREAK = re.compile(r"\r?\n|\r|\u2028|\u2029|</?(?:br|p|div|li|h[1-6])\b[^<>]{0,200}>", re.IGNORECASE)
_VISIBLE = re.compile(r"\S")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of every sentence, as indices of code points, in order and without overlap.

    ``text[start:end]`` begins and ends with a character that is not white space. Nothing but white space and tags that
    break lines lies between sentences.
    """
    spans = []
    for first, last in _lines(text):
        line = text[first:last]
        for start, end in sent_spans(line):
            sentence = line[start:end]
            if visible := _VISIBLE.search(sentence):
                spans.append((first + start + visible.start(), first + start + len(sentence.rstrip())))
    return spans


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for separator in _BREAK.finditer(text):
        yield start, separator.start()
        start = separator.end()
    yield start, len(text)
