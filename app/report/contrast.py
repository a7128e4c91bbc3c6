"""Words that are frequent on one side and not on the other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.report.statistics import Z_95, log_odds
from app.text import preprocessing2 as text_words
from app.text.aspects import spoken_of
from app.text.preprocessing2 import EMOJI_PREFIX, NOT, NUMBER, SPECIAL_TOKENS

SHOWN_WORDS = 15
FEWEST_ROWS = 3
"""Rows that a word must be in, to be shown."""
_NEGATORS = frozenset({NOT, "not", "no", "never"})
_TONE = frozenset("!?")
_FUNCTION_WORDS = frozenset(
    "a about after again all also am an and any are as at be because been before being but by ca can could did do does "
    "doing during each for from had has have having he her here hers herself him himself his how i if in into is it "
    "its itself just ll may me might must my myself nor of off on once only or other our ours out over own re s shall "
    "she should so some such than that the their theirs them themselves then there these they this those through to "
    "too under until up upon us ve very was we were what when where which while who whom why will with wo would you "
    "your yours yourself".split()
)
"""English words that say how a sentence is built and not what it is about: they are left out."""
_EMOJI = re.compile(rf"{EMOJI_PREFIX}([0-9a-f]{{4,5}})")


class Word(NamedTuple):
    """A word of one side.

    Attributes:
        text: the word as people read it.
        z: see ``statistics.log_odds``.
        here: rows of this side with the word.
        there: rows of the other side with it.
    """

    text: str
    z: float
    here: int
    there: int


class Contrast(NamedTuple):
    """What one label's rows say and others do not.

    Attributes:
        label: the label.
        rows: rows in which words were counted.
        others: likewise, of those it is compared with.
        words: the most telling first.
    """

    label: str
    rows: int
    others: int
    words: list[Word]


def counted(texts: Iterable[str]) -> Counter[str]:
    """In how many of some texts each word is. A word right behind ``not`` is another."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(_told(text)))
    return counts


def counted_aspects(texts: Iterable[str]) -> Counter[str]:
    """In how many of some texts each thing is named."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(spoken_of(text))
    return counts


def _told(text: str) -> Iterator[str]:
    negator = ""
    for word in text_words.words(text):
        if word in _NEGATORS:
            negator = "not" if word == NOT else word
            continue
        if _tells(word):
            yield f"{negator} {word}" if negator and word not in _TONE and word not in SPECIAL_TOKENS else word
        negator = ""


def _tells(word: str) -> bool:
    """Whether a token says something: no number, no letter that an apostrophe left behind, no function word."""
    if word in _FUNCTION_WORDS or word == NUMBER or word.isdigit():
        return False
    return len(word) > 1 or word in _TONE or not word.isascii()


def contrast(
    label: str, rows: int, here: Counter[str], others: int, there: Counter[str], all_: Counter[str]
) -> Contrast:
    """The words of one side that the other has too seldom for chance alone."""
    scores = log_odds(here, there, all_)
    telling = [
        Word(_shown(word), z, here[word], there[word])
        for word, z in scores.items()
        if z > Z_95 and here[word] >= FEWEST_ROWS and here[word] * others > there[word] * rows
    ]
    telling.sort(key=lambda word: (-word.z, word.text))
    return Contrast(label, rows, others, telling[:SHOWN_WORDS])


def _shown(word: str) -> str:
    if word in SPECIAL_TOKENS:
        return {"<link>": "(a link)", "<user>": "(a user name)"}.get(word, f"({word[1:-1].replace('-', ' ')} emoticon)")
    emoji = _EMOJI.fullmatch(word)
    return chr(int(emoji[1], 16)) if emoji else word
