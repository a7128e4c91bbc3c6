"""Text to words: the one preprocessing that training and serving share.

A word is a run of letters and digits, in which single apostrophes may stand ("don't"); ``!`` and ``?`` are words of
their own because they carry tone; everything else separates. HTML tags separate too. Characters are case-folded,
compatibility-decomposed (Unicode NFKD) and stripped of combining marks one by one, so "CAFÉ" is "cafe" however it
was typed. Every step maps single characters without looking at their neighbours: that makes the mapping back to
character offsets exact, and lets the plain path be a handful of C-speed string operations.

``words`` is the fast path, ``word_spans`` the one that also says where each word stands, and ``words.c`` reads what
``plain`` prepares, faster than both; property tests hold them equal. A change that alters any output must raise
``PREPROCESSING_VERSION``, which checkpoints record.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

PREPROCESSING_VERSION = 1

# Windows-1252 quotes that survive in texts decoded as Latin-1, typographic apostrophes, and the backtick.
APOSTROPHES = frozenset("'`\u2018\u2019\u201b\u02bc\uff07\x91\x92")
_TONE = frozenset("!?")
DROPPED_CATEGORIES = frozenset({"Mn", "Me", "Cf"})
_FOLD_CACHE_LIMIT = 8192

# Each '<' is scanned at most up to the next '<', '>' or 200 characters, so no input makes this quadratic.
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_FEW = 16
_WORD = re.compile(r"[!?]|[^\s'!?]+(?:'[^\s'!?]+)*")


class Span(NamedTuple):
    """One word and where it stands: ``text[start:end]`` are its characters in the original text."""

    word: str
    start: int
    end: int


def _fold(character: str) -> str:
    folded = []
    for part in unicodedata.normalize("NFKD", character.casefold()):
        if character in APOSTROPHES or part in APOSTROPHES:
            folded.append("'")
        elif part in _TONE:
            folded.append(f" {part} ")
        elif unicodedata.category(part) in DROPPED_CATEGORIES:
            continue
        elif part.isalnum() or unicodedata.category(part) == "Mc":
            folded.append(part.casefold())
        else:
            folded.append(" ")
    return "".join(folded)


class FoldTable(dict[int, str]):
    """``str.translate`` table filled on demand, bounded so that no input can make it grow without end.

    Args:
        fold: what becomes of a character.
    """

    def __init__(self, fold: Callable[[str], str]) -> None:
        super().__init__()
        self._fold = fold

    def __missing__(self, codepoint: int) -> str:
        folded = self._fold(chr(codepoint))
        if len(self) < _FOLD_CACHE_LIMIT:
            self[codepoint] = folded
        return folded


_FOLD = FoldTable(_fold)
# One character to one character: CPython translates ASCII text by such a table without leaving C.
_ASCII_FOLD = {
    code: character if (character := _fold(chr(code)).strip()) and len(character) == 1 else " " for code in range(128)
}


def _blank_tags(text: str) -> str:
    """Replace HTML tags by as many spaces, so that offsets stay true."""
    if "<" not in text:
        return text
    return _TAG.sub(lambda tag: " " * len(tag.group()), text)


def _fold_foreign(text: str) -> str:
    """Fold what is not ASCII, where there is little of it: several times faster than translating all characters."""
    if text.isascii():
        return text
    foreign = set(_NON_ASCII.findall(text))
    if len(foreign) > _FEW:
        return text
    for character in foreign:
        text = text.replace(character, _FOLD[ord(character)])
    return text


def plain(text: str) -> bytes | None:
    """A text of the same words in ASCII; None where there is none."""
    if not text.isascii():
        # What looks like a tag only once its accents are folded is none.
        text = _fold_foreign(_blank_tags(text).replace("<", " "))
        if not text.isascii():
            return None
    return text.encode("ascii")


def words(text: str) -> list[str]:
    """The words of ``text``, in order. Linear in the length of the text; accepts any string, lone surrogates too."""
    text = _fold_foreign(_blank_tags(text))
    if text.isascii():
        text = text.translate(_ASCII_FOLD)
        # The one-to-one table cannot set tone marks apart.
        if "!" in text:
            text = text.replace("!", " ! ")
        if "?" in text:
            text = text.replace("?", " ? ")
    else:
        text = text.translate(_FOLD)
    if "'" in text:
        # Only a single apostrophe between two word characters belongs to the word.
        text = f" {text} ".replace("''", "  ").replace(" '", "  ").replace("' ", "  ")
    return text.split()


def word_spans(text: str) -> list[Span]:
    """The words of ``text`` with their character offsets, in order; the words equal ``words(text)``.

    A character that folds to several words (a ligature with a question mark, say) gives each of them its own offsets.
    """
    folded = [_FOLD[ord(character)] for character in _blank_tags(text)]
    origins = [index for index, part in enumerate(folded) for _ in part]
    spans = []
    for match in _WORD.finditer("".join(folded)):
        start = origins[match.start()]
        end = origins[match.end() - 1] + 1
        # Combining marks fold to nothing but belong to the character before them.
        while end < len(text) and unicodedata.category(text[end]) in DROPPED_CATEGORIES:
            end += 1
        spans.append(Span(match.group(), start, end))
    return spans
