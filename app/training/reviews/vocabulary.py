"""The vocabulary of many kinds of texts: words, pieces of unknown words, aliases of names, words of other languages."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from app.text.preprocessing2 import NOT, SPECIAL_TOKENS, words
from app.text.tokenizer import Tokenizer
from app.text.word_ids import MAX_PIECE, PAD_TOKEN, PIECE, UNKNOWN_TOKEN
from app.training.reviews import wordlists

_LONGEST_WORD = 32
_CAPITAL = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+\b")
_LOWER = re.compile(r"\b[a-z]{3,}\b")


def build_tokenizer(
    texts: Iterable[str], size: int, pieces: int, max_tokens: int, head_tokens: int, extra: Iterable[str]
) -> Tokenizer:
    """A tokenizer of preprocessing version 2.

    Args:
        texts: what to count words in.
        size: entries of the vocabulary, all kinds together.
        pieces: how many of them are pieces.
        max_tokens: see ``Tokenizer``.
        head_tokens: likewise.
        extra: words to have in any case.
    """
    counts: Counter[str] = Counter()
    capital: Counter[str] = Counter()
    lower: Counter[str] = Counter()
    for text in texts:
        counts.update(words(text))
        capital.update(map(str.lower, _CAPITAL.findall(text)))
        lower.update(_LOWER.findall(text))
    aliases = _aliases(lower, capital)
    named = {word for others in aliases.values() for word in others}
    special = [*SPECIAL_TOKENS, NOT, *aliases]
    wanted = [word for text in extra for word in words(text)]
    ranked = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    listed = [
        word
        for word in dict.fromkeys([*ranked[:5000], *wanted, *ranked])
        if word not in named and word not in special and len(word) <= _LONGEST_WORD
    ]
    cut = build_pieces(counts, pieces)
    listed = listed[: size - 2 - len(special) - len(cut)]
    foreign_words = set(wordlists.foreign_words())
    own = [word for word in listed if word not in foreign_words]
    foreign = [word for word in listed if word in foreign_words]
    vocabulary = [PAD_TOKEN, UNKNOWN_TOKEN, *special, *own, *cut, *foreign]
    return Tokenizer(vocabulary, max_tokens, head_tokens, 2, aliases, len(foreign))


def build_pieces(counts: Mapping[str, int], size: int) -> list[str]:
    """All letters, and the runs of 2 to 10 letters that are in most different words, long ones first among equals."""
    found: dict[str, float] = {}
    for word, count in counts.items():
        if count < 3 or not (word.isascii() and word.isalpha()) or len(word) > _LONGEST_WORD:
            continue
        weight = math.log1p(count)
        for length in range(2, min(MAX_PIECE, len(word)) + 1):
            for start in range(len(word) - length + 1):
                piece = word[start : start + length]
                found[piece] = found.get(piece, 0.0) + weight * (length - 1)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [PIECE + piece for piece in [*letters, *(piece for piece, _ in ranked[: size - len(letters)])]]


def _aliases(lower: Mapping[str, int], capital: Mapping[str, int]) -> dict[str, Sequence[str]]:
    places = [place for place in wordlists.place_names() if " " not in place]
    taken: set[str] = set()
    aliases: dict[str, Sequence[str]] = {}
    for token, candidates in (
        (wordlists.NATIONALITY, wordlists.NATIONALITIES),
        (wordlists.RELIGION, wordlists.RELIGIONS),
        (wordlists.ORIENTATION, wordlists.ORIENTATIONS),
        (wordlists.NAME, wordlists.names_only([*wordlists.first_names(), *places], lower, capital)),
    ):
        aliases[token] = sorted(set(candidates) - taken)
        taken.update(aliases[token])
    return aliases
