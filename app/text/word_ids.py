"""The words of a tokenizer and their ids, as Python looks them up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from app.errors import CheckpointError
from app.native.words import CompiledVocabulary, compiled_vocabulary
from app.sentiment import UNKNOWN_ID
from app.text import preprocessing2 as version2

PAD_TOKEN = "<pad>"
UNKNOWN_TOKEN = "<unk>"
PIECE = "+"
"""First character of a vocabulary entry that is a piece of unknown words."""
MAX_WORD = 128
"""Bytes of a word that may be in a vocabulary of preprocessing version 2."""
MAX_PIECE, MAX_PIECES = 10, 4
"""Letters of a piece, and pieces of a word, at the most."""

_DOUBLED = re.compile(r"([a-z])\1")


class _Ids(dict[str, int]):
    def __missing__(self, word: str) -> int:
        return UNKNOWN_ID


class WordIds:
    """The words and their ids. Immutable.

    Args:
        vocabulary: words by id; the first two are the padding and the unknown token.
        aliases: by word of the vocabulary, others that have its id, for instance first names.
        foreign: how many words at the end of the vocabulary belong to other languages more than to English.

    Raises:
        CheckpointError: they are inconsistent.

    Attributes:
        vocabulary, aliases, foreign: as given.
        ids: by word, aliases too; that of the unknown token for all others.
        foreign_from: the first id of a word of another language.
    """

    def __init__(self, vocabulary: Sequence[str], aliases: Mapping[str, Sequence[str]], foreign: int) -> None:
        if list(vocabulary[:2]) != [PAD_TOKEN, UNKNOWN_TOKEN]:
            raise CheckpointError(f"vocabulary must begin with {PAD_TOKEN} and {UNKNOWN_TOKEN}")
        self.vocabulary = tuple(vocabulary)
        self.aliases = {word: tuple(others) for word, others in aliases.items()}
        self.foreign = foreign
        self.foreign_from = len(vocabulary) - foreign
        self.ids = _Ids(zip(vocabulary[2:], range(2, len(vocabulary)), strict=True))
        if len(self.ids) != len(vocabulary) - 2:
            raise CheckpointError("vocabulary names a word twice")
        for word, others in self.aliases.items():
            if word not in self.ids or not self.ids.keys().isdisjoint(others):
                raise CheckpointError(f"aliases of {word!r}: it must be in the vocabulary, and they must not be")
            self.ids.update(dict.fromkeys(others, self.ids[word]))
        text = "".join(self.ids)
        if "" in self.ids or text.encode(errors="ignore").decode() != text:
            raise CheckpointError("vocabulary has an empty word, or half of a surrogate pair")

    def compiled(self, preprocessing: int) -> CompiledVocabulary | None:
        """The same for the compiled code, where that is there."""
        special = [self.ids[token] for token in (*version2.SPECIAL_TOKENS, version2.NOT)]
        return compiled_vocabulary(self.ids, preprocessing, special, self.foreign_from)

    def pieces(self, word: str) -> list[str]:
        """What is looked up for a word of version 2: itself, itself without doubled letters, or its pieces."""
        if len(word.encode("utf-8")) > MAX_WORD:
            return [UNKNOWN_TOKEN]
        if word in self.ids:
            return [word]
        single = _DOUBLED.sub(r"\1", word)
        if single in self.ids:
            return [single]
        return self.cut(word) or [UNKNOWN_TOKEN]

    def cut(self, word: str) -> list[str]:
        """The pieces of a word, longest first; none where it cannot be cut."""
        if not (word.isascii() and word.isalpha()):
            return []
        pieces: list[str] = []
        at = 0
        while at < len(word):
            longest = (PIECE + word[at : at + size] for size in range(min(MAX_PIECE, len(word) - at), 0, -1))
            piece = next((piece for piece in longest if piece in self.ids), None)
            if piece is None or len(pieces) == MAX_PIECES:
                return []
            pieces.append(piece)
            at += len(piece) - 1
        return pieces
