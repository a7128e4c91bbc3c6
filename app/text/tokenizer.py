"""Words to token ids: a word-level vocabulary with truncation that keeps the head and the tail of a long text."""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar, cast

from app.errors import CheckpointError, NoWordsError
from app.golden import check_ids
from app.native.words import compiled_vocabulary
from app.sentiment import TOKEN_TYPECODE, UNKNOWN_ID, EncodedTexts, Encoding
from app.store import CONFIG_FILE, TOKENIZER_FILE, StoredModel
from app.text import preprocessing as version1
from app.text import preprocessing2 as version2
from app.text.preprocessing import Span

PAD_TOKEN = "<pad>"
UNKNOWN_TOKEN = "<unk>"
PIECE = "+"
"""First character of a vocabulary entry that is a piece of unknown words."""
MAX_WORD = 128
"""Bytes of a word that may be in a vocabulary of preprocessing version 2."""
MAX_PIECE, MAX_PIECES = 10, 4
"""Letters of a piece, and pieces of a word, at the most."""

_Item = TypeVar("_Item")
_TONE = frozenset("!?")
_DOUBLED = re.compile(r"([a-z])\1")


class Preprocessing(Protocol):
    """One version of the way from text to words."""

    def plain(self, text: str) -> bytes | None:
        """What the compiled code reads; None where only Python can tell the words."""
        ...

    def words(self, text: str) -> list[str]:
        """The words, in order."""
        ...

    def word_spans(self, text: str) -> list[Span]:
        """The words with their character offsets."""
        ...


PREPROCESSINGS: Mapping[int, Preprocessing] = MappingProxyType({1: version1, 2: version2})
"""All versions that a stored model may have been trained with."""


class _Vocabulary(dict[str, int]):
    def __missing__(self, word: str) -> int:
        return UNKNOWN_ID


class Tokenizer:
    """Encodes texts for one checkpoint. Immutable and safe to share between threads.

    Most texts are encoded by compiled code where it is there, all others in Python, with the same outcome.

    Of preprocessing version 2, a word that is not in the vocabulary is looked up once more with each doubled letter
    single, and then cut into pieces that are (``+un`` and ``+bear``), longest first; what cannot be cut is the unknown
    token.

    Args:
        vocabulary: words by id; the first two are the padding and the unknown token.
        max_tokens: longest encoding.
        head_tokens: how many of ``max_tokens`` are taken from the start of a text that is longer; the rest is its end.
        preprocessing: version of the preprocessing.
        aliases: by word of the vocabulary, others that have its id, for instance first names.
        foreign: how many words at the end of the vocabulary belong to other languages more than to English.

    Raises:
        CheckpointError: the vocabulary or the limits are inconsistent.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        max_tokens: int,
        head_tokens: int,
        preprocessing: int = 1,
        aliases: Mapping[str, Sequence[str]] = MappingProxyType({}),
        foreign: int = 0,
    ) -> None:
        if list(vocabulary[:2]) != [PAD_TOKEN, UNKNOWN_TOKEN]:
            raise CheckpointError(f"vocabulary must begin with {PAD_TOKEN} and {UNKNOWN_TOKEN}")
        if not 0 <= head_tokens <= max_tokens or max_tokens < 1:
            raise CheckpointError(f"head_tokens {head_tokens} must lie between 0 and max_tokens {max_tokens}")
        if preprocessing not in PREPROCESSINGS:
            known = ", ".join(map(str, PREPROCESSINGS))
            raise CheckpointError(f"preprocessing version {preprocessing}, this program has {known}")
        self.vocabulary = tuple(vocabulary)
        self.max_tokens = max_tokens
        self.head_tokens = head_tokens
        self.preprocessing = preprocessing
        self.aliases = {word: tuple(others) for word, others in aliases.items()}
        self.foreign = foreign
        self._limits = (max_tokens, head_tokens)
        self._version = PREPROCESSINGS[preprocessing]
        self._ids = _Vocabulary(zip(vocabulary[2:], range(2, len(vocabulary)), strict=True))
        if len(self._ids) != len(vocabulary) - 2:
            raise CheckpointError("vocabulary names a word twice")
        for word, others in self.aliases.items():
            if word not in self._ids or not self._ids.keys().isdisjoint(others):
                raise CheckpointError(f"aliases of {word!r}: it must be in the vocabulary, and they must not be")
            self._ids.update(dict.fromkeys(others, self._ids[word]))
        text = "".join(self._ids)
        if "" in self._ids or text.encode(errors="ignore").decode() != text:
            raise CheckpointError("vocabulary has an empty word, or half of a surrogate pair")
        self._foreign_from = len(vocabulary) - foreign
        special = [self._ids[token] for token in (*version2.SPECIAL_TOKENS, version2.NOT)]
        self._compiled = compiled_vocabulary(self._ids, preprocessing, special, self._foreign_from)

    def __len__(self) -> int:
        """Size of the vocabulary, the two special tokens included."""
        return len(self.vocabulary)

    def encode(self, text: str) -> Encoding:
        """Token ids of one text.

        Raises:
            NoWordsError: there is no word in the text.
        """
        [encoding] = self.encode_all([text])
        if isinstance(encoding, NoWordsError):
            raise encoding
        return encoding

    def encode_all(self, texts: Sequence[str]) -> list[Encoding | NoWordsError]:
        """Token ids of each text, or why there are none."""
        return self.encode_together(texts).each()

    def encode_together(self, texts: Sequence[str]) -> EncodedTexts:
        """Token ids of texts in one piece; a text without words has none."""
        prepared = [None] * len(texts) if self._compiled is None else list(map(self._version.plain, texts))
        if self._compiled is not None and None not in prepared:
            return self._compiled.encode(cast("list[bytes]", prepared), *self._limits)
        plain_ones = [text for text in prepared if text is not None]
        done = EncodedTexts(array(TOKEN_TYPECODE), [], [], [], [], [])
        if self._compiled is not None and plain_ones:
            done = self._compiled.encode(plain_ones, *self._limits)
        table = EncodedTexts(array(TOKEN_TYPECODE), [], [], [], [], [])
        at, rows = 0, zip(*done[1:], strict=True)
        for text, ready in zip(texts, prepared, strict=True):
            if ready is not None:
                row = next(rows)
                table.ids.extend(done.ids[at : at + row[0]])
                at += row[0]
            elif isinstance(found := self._encode(text), Encoding):
                row = (len(found.ids), found.tokens, found.words, found.unknown, found.foreign)
                table.ids.extend(found.ids)
            else:
                row = (0, 0, 0, 0, 0)
            for column, count in zip(table[1:], row, strict=True):
                column.append(count)
        return table

    def _encode(self, text: str) -> Encoding | NoWordsError:
        if self.preprocessing == 1:
            # A list first: filling an array from an iterator, and counting in one, is slower.
            found = list(map(self._ids.__getitem__, self._version.words(text)))
            ids = self._keep(found)
            words, unknown, foreign = len(ids), ids.count(UNKNOWN_ID), 0
        else:
            found, words, unknown, foreign = [], 0, 0, 0
            for word in self._version.words(text):
                pieces = [self._ids[piece] for piece in self._pieces(word)]
                found += pieces
                if word not in _TONE and word not in version2.SPECIAL_TOKENS and not _is_number(word):
                    words += 1
                    foreign += pieces[0] >= self._foreign_from
                    unknown += pieces[0] == UNKNOWN_ID or self.vocabulary[pieces[0]].startswith(PIECE)
            ids = self._keep(found)
        if not found:
            return NoWordsError()
        total = len(found)
        return Encoding(array(TOKEN_TYPECODE, ids), total, total > len(ids), words, unknown, foreign)

    def _pieces(self, word: str) -> list[str]:
        """What is looked up for a word of version 2: itself, itself without doubled letters, or its pieces."""
        if len(word.encode("utf-8")) > MAX_WORD:
            return [UNKNOWN_TOKEN]
        if word in self._ids:
            return [word]
        single = _DOUBLED.sub(r"\1", word)
        if single in self._ids:
            return [single]
        return self._cut(word) or [UNKNOWN_TOKEN]

    def _cut(self, word: str) -> list[str]:
        """The pieces of an unknown word; none where it cannot be cut."""
        if not (word.isascii() and word.isalpha()):
            return []
        pieces: list[str] = []
        at = 0
        while at < len(word):
            longest = (PIECE + word[at : at + size] for size in range(min(MAX_PIECE, len(word) - at), 0, -1))
            piece = next((piece for piece in longest if piece in self._ids), None)
            if piece is None or len(pieces) == MAX_PIECES:
                return []
            pieces.append(piece)
            at += len(piece) - 1
        return pieces

    def spans(self, text: str) -> list[Span]:
        """The tokens behind ``encode(text).ids`` with their character offsets, one per id.

        Each piece of an unknown word has the offsets of the whole word.
        """
        found = self._version.word_spans(text)
        if self.preprocessing > 1:
            found = [Span(piece, start, end) for word, start, end in found for piece in self._pieces(word)]
        return self._keep(found)

    def _keep(self, items: list[_Item]) -> list[_Item]:
        if len(items) <= self.max_tokens:
            return items
        tail = self.max_tokens - self.head_tokens
        return items[: self.head_tokens] + items[len(items) - tail :]

    def pieces(self, word: str) -> list[int]:
        """Ids of the pieces of a word that the vocabulary may have as a whole; none where it cannot be cut."""
        return [self._ids[piece] for piece in self._cut(word)]

    def save(self, path: Path) -> None:
        """Write the vocabulary as JSON (one word a line, so that versions can be compared)."""
        document: dict[str, object] = {"type": "word", "preprocessing": self.preprocessing}
        if self.preprocessing > 1:
            document |= {"foreign": self.foreign, "aliases": self.aliases}
        document["vocabulary"] = self.vocabulary
        path.write_text(json.dumps(document, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, max_tokens: int, head_tokens: int) -> Tokenizer:
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: the file is missing, malformed, or of another preprocessing version.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            vocabulary, version = document["vocabulary"], int(document["preprocessing"])
            aliases, foreign = document.get("aliases", {}), int(document.get("foreign", 0))
            if document["type"] != "word" or not _are_words(vocabulary, *aliases.values()):
                raise ValueError("not a word vocabulary")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{path}: not a readable tokenizer ({type(error).__name__})") from error
        try:
            return cls(vocabulary, max_tokens, head_tokens, version, aliases, foreign)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def with_limits(self, max_tokens: int, head_tokens: int) -> Tokenizer:
        """The same vocabulary with other limits."""
        return Tokenizer(self.vocabulary, max_tokens, head_tokens, self.preprocessing, self.aliases, self.foreign)


def _are_words(*lists: object) -> bool:
    return all(isinstance(words, list) and set(map(type, words)) <= {str} for words in lists)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()


def build_vocabulary(texts: Iterable[str], size: int) -> list[str]:
    """The ``size - 2`` most frequent words (of preprocessing version 1) behind the padding and the unknown token.

    Words of equal frequency are ordered alphabetically, so that the vocabulary depends on the texts alone.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(version1.words(text))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [PAD_TOKEN, UNKNOWN_TOKEN, *(word for word, _ in ranked[: size - 2])]


def load_tokenizer(model: StoredModel) -> Tokenizer:
    """The tokenizer of a stored version, checked against its configuration and its golden texts.

    Raises:
        CheckpointError: unreadable, or not the one the configuration describes or the golden texts were encoded by.
    """
    path = model.path / TOKENIZER_FILE
    config = model.config
    tokenizer = Tokenizer.load(path, config.max_tokens, config.head_tokens)
    if config.preprocessing != tokenizer.preprocessing:
        raise CheckpointError(
            f"{path}: preprocessing version {tokenizer.preprocessing}, {CONFIG_FILE} says {config.preprocessing}"
        )
    if len(tokenizer) != config.vocabulary_size:
        raise CheckpointError(f"{path}: {len(tokenizer)} words, {CONFIG_FILE} says {config.vocabulary_size}")
    check_ids(model, lambda text: tokenizer.encode(text).ids)
    return tokenizer
