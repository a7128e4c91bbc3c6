"""Words to token ids: a word-level vocabulary with truncation that keeps the head and the tail of a long text."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar, cast

from app.errors import CheckpointError, NoWordsError
from app.golden import check_ids
from app.native.words import CompiledVocabulary, shared_vocabulary
from app.sentiment import TOKEN_TYPECODE, UNKNOWN_ID, EncodedTexts, Encoding
from app.store import CONFIG_FILE, TOKENIZER_FILE, ModelConfig, StoredModel
from app.text import preprocessing as version1
from app.text import preprocessing2 as version2
from app.text.preprocessing import Span
from app.text.word_ids import PAD_TOKEN, PIECE, UNKNOWN_TOKEN, WordIds

_Item = TypeVar("_Item")
_TONE = frozenset("!?")


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
        known = WordIds(vocabulary, aliases, foreign)
        self.compiled: CompiledVocabulary | None
        self._begin(lambda: known, len(vocabulary), max_tokens, head_tokens, preprocessing)
        self.compiled = known.compiled(preprocessing)

    @classmethod
    def over(cls, compiled: CompiledVocabulary, known: Callable[[], WordIds], config: ModelConfig) -> Tokenizer:
        """One of a compiled vocabulary that is there already.

        Args:
            compiled: the vocabulary.
            known: gives the same words for Python, which are asked for when a text first needs them.
            config: of the checkpoint.
        """
        tokenizer = cls.__new__(cls)
        sizes = (config.vocabulary_size, config.max_tokens, config.head_tokens)
        tokenizer._begin(cache(known), *sizes, config.preprocessing)  # noqa: SLF001 - its own class
        tokenizer.compiled = compiled
        return tokenizer

    def _begin(
        self, known: Callable[[], WordIds], size: int, max_tokens: int, head_tokens: int, preprocessing: int
    ) -> None:
        if not 0 <= head_tokens <= max_tokens or max_tokens < 1:
            raise CheckpointError(f"head_tokens {head_tokens} must lie between 0 and max_tokens {max_tokens}")
        if preprocessing not in PREPROCESSINGS:
            versions = ", ".join(map(str, PREPROCESSINGS))
            raise CheckpointError(f"preprocessing version {preprocessing}, this program has {versions}")
        self.max_tokens = max_tokens
        self.head_tokens = head_tokens
        self.preprocessing = preprocessing
        self._known = known
        self._size = size
        self._limits = (max_tokens, head_tokens)
        self._version = PREPROCESSINGS[preprocessing]

    @property
    def known(self) -> WordIds:
        """The words and their ids."""
        return self._known()

    @property
    def vocabulary(self) -> Sequence[str]:
        """Words by id."""
        return self.known.vocabulary

    @property
    def aliases(self) -> Mapping[str, Sequence[str]]:
        """By word of the vocabulary, others that have its id."""
        return self.known.aliases

    @property
    def foreign(self) -> int:
        """How many words at the end of the vocabulary belong to other languages more than to English."""
        return self.known.foreign

    def __len__(self) -> int:
        """Size of the vocabulary, the two special tokens included."""
        return self._size

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
        prepared = [None] * len(texts) if self.compiled is None else list(map(self._version.plain, texts))
        if self.compiled is not None and None not in prepared:
            return self.compiled.encode(cast("list[bytes]", prepared), *self._limits)
        plain_ones = [text for text in prepared if text is not None]
        done = EncodedTexts(array(TOKEN_TYPECODE), [], [], [], [], [])
        if self.compiled is not None and plain_ones:
            done = self.compiled.encode(plain_ones, *self._limits)
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
        known = self.known
        if self.preprocessing == 1:
            # A list first: filling an array from an iterator, and counting in one, is slower.
            found = list(map(known.ids.__getitem__, self._version.words(text)))
            ids = self._keep(found)
            words, unknown, foreign = len(ids), ids.count(UNKNOWN_ID), 0
        else:
            found, words, unknown, foreign = [], 0, 0, 0
            for word in self._version.words(text):
                pieces = [known.ids[piece] for piece in known.pieces(word)]
                found += pieces
                if word not in _TONE and word not in version2.SPECIAL_TOKENS and not _is_number(word):
                    words += 1
                    foreign += pieces[0] >= known.foreign_from
                    unknown += pieces[0] == UNKNOWN_ID or known.vocabulary[pieces[0]].startswith(PIECE)
            ids = self._keep(found)
        if not found:
            return NoWordsError()
        total = len(found)
        return Encoding(array(TOKEN_TYPECODE, ids), total, total > len(ids), words, unknown, foreign)

    def spans(self, text: str) -> list[Span]:
        """The tokens behind ``encode(text).ids`` with their character offsets, one per id.

        Each piece of an unknown word has the offsets of the whole word.
        """
        found = self._version.word_spans(text)
        if self.preprocessing > 1:
            known = self.known
            found = [Span(piece, start, end) for word, start, end in found for piece in known.pieces(word)]
        return self._keep(found)

    def _keep(self, items: list[_Item]) -> list[_Item]:
        if len(items) <= self.max_tokens:
            return items
        tail = self.max_tokens - self.head_tokens
        return items[: self.head_tokens] + items[len(items) - tail :]

    def pieces(self, word: str) -> list[int]:
        """Ids of the pieces of a word that the vocabulary may have as a whole; none where it cannot be cut."""
        known = self.known
        return [known.ids[piece] for piece in known.cut(word)]

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


def load_tokenizer(model: StoredModel, shared: Path | None = None) -> Tokenizer:
    """The tokenizer of a stored version, checked against its configuration and its golden texts.

    Args:
        model: the version.
        shared: a file in which processes share the compiled vocabulary of this version: the first one writes it, the
            others read no words. None: this process has its own, as it always has of preprocessing version 1, of which
            some texts are Python's.

    Raises:
        CheckpointError: unreadable, or not the one the configuration describes or the golden texts were encoded by.
    """
    tokenizer = _load(model) if shared is None or not _is_shared(model) else _load_shared(model, shared)
    check_ids(model, lambda text: tokenizer.encode(text).ids)
    return tokenizer


def share_vocabulary(model: StoredModel, shared: Path) -> None:
    """Write what ``load_tokenizer`` shares, unless all of it is there: for who has the time, before others look for it.

    Raises:
        CheckpointError: see ``load_tokenizer``.
    """
    if _is_shared(model):
        _load_shared(model, shared)


def _is_shared(model: StoredModel) -> bool:
    return model.config.preprocessing > 1


def _load_shared(model: StoredModel, shared: Path) -> Tokenizer:
    compiled = shared_vocabulary(shared, lambda: _load(model).compiled)
    return _load(model) if compiled is None else Tokenizer.over(compiled, lambda: _load(model).known, model.config)


def _load(model: StoredModel) -> Tokenizer:
    path, config = model.path / TOKENIZER_FILE, model.config
    tokenizer = Tokenizer.load(path, config.max_tokens, config.head_tokens)
    if config.preprocessing != tokenizer.preprocessing:
        raise CheckpointError(
            f"{path}: preprocessing version {tokenizer.preprocessing}, {CONFIG_FILE} says {config.preprocessing}"
        )
    if len(tokenizer) != config.vocabulary_size:
        raise CheckpointError(f"{path}: {len(tokenizer)} words, {CONFIG_FILE} says {config.vocabulary_size}")
    return tokenizer
