"""Words to token ids: a word-level vocabulary with truncation that keeps the head and the tail of a long text."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from app.errors import CheckpointError, NoWordsError
from app.sentiment import TOKEN_TYPECODE, UNKNOWN_ID, Encoding, EncodingTable
from app.store import CONFIG_FILE, TOKENIZER_FILE, StoredModel
from app.text.compiled import compiled_vocabulary
from app.text.preprocessing import PREPROCESSING_VERSION, Span, plain, word_spans, words

PAD_TOKEN = "<pad>"
UNKNOWN_TOKEN = "<unk>"

_Item = TypeVar("_Item")


class _Vocabulary(dict[str, int]):
    def __missing__(self, word: str) -> int:
        return UNKNOWN_ID


class Tokenizer:
    """Encodes texts for one checkpoint. Immutable and safe to share between threads.

    Most texts are encoded by compiled code where it is there, all others in Python, with the same outcome.

    Args:
        vocabulary: words by id; the first two are the padding and the unknown token.
        max_tokens: longest encoding.
        head_tokens: how many of ``max_tokens`` are taken from the start of a text that is longer; the rest is its end.

    Raises:
        CheckpointError: the vocabulary or the limits are inconsistent.
    """

    def __init__(self, vocabulary: Sequence[str], max_tokens: int, head_tokens: int) -> None:
        if list(vocabulary[:2]) != [PAD_TOKEN, UNKNOWN_TOKEN]:
            raise CheckpointError(f"vocabulary must begin with {PAD_TOKEN} and {UNKNOWN_TOKEN}")
        if not 0 <= head_tokens <= max_tokens or max_tokens < 1:
            raise CheckpointError(f"head_tokens {head_tokens} must lie between 0 and max_tokens {max_tokens}")
        self.vocabulary = tuple(vocabulary)
        self.max_tokens = max_tokens
        self.head_tokens = head_tokens
        self._limits = (max_tokens, head_tokens)
        self._ids = _Vocabulary((word, index) for index, word in enumerate(vocabulary) if index > UNKNOWN_ID)
        if len(self._ids) != len(vocabulary) - 2:
            raise CheckpointError("vocabulary names a word twice")
        self._compiled = compiled_vocabulary(self.vocabulary[2:], first=2)

    def __len__(self) -> int:
        """Size of the vocabulary, the two special tokens included."""
        return len(self.vocabulary)

    def encode(self, text: str) -> Encoding:
        """Token ids of one text.

        Raises:
            NoWordsError: there is no word in the text.
        """
        encoding = self.encode_one(text)
        if isinstance(encoding, NoWordsError):
            raise encoding
        return encoding

    def encode_one(self, text: str) -> Encoding | NoWordsError:
        """Token ids of one text, or why there are none."""
        ready = None if self._compiled is None else plain(text)
        if self._compiled is None or ready is None:
            return self._encode(text)
        return self._compiled.encode_one(ready, *self._limits)

    def encode_all(self, texts: Sequence[str]) -> list[Encoding | NoWordsError]:
        """Token ids of each text, or why there are none; cheaper than one call for each."""
        if self._compiled is None:
            return list(map(self._encode, texts))
        prepared = list(map(plain, texts))
        if None not in prepared:
            return self._compiled.encode(cast("list[bytes]", prepared), *self._limits)
        plain_ones = [text for text in prepared if text is not None]
        encoded = iter(self._compiled.encode(plain_ones, *self._limits))
        return [
            self._encode(text) if ready is None else next(encoded) for text, ready in zip(texts, prepared, strict=True)
        ]

    def encode_table(self, texts: Sequence[str]) -> EncodingTable:
        """Token ids of several texts in one piece; cheaper than ``encode_all``."""
        prepared = [None] * len(texts) if self._compiled is None else list(map(plain, texts))
        plain_ones = [text for text in prepared if text is not None]
        nothing = EncodingTable(array(TOKEN_TYPECODE), [], [], [])
        done = self._compiled.encode_table(plain_ones, *self._limits) if self._compiled and plain_ones else nothing
        if len(plain_ones) == len(texts):
            return done
        table = EncodingTable(array(TOKEN_TYPECODE), [], [], [])
        at, rows = 0, zip(done.kept, done.tokens, done.unknown, strict=True)
        for text, ready in zip(texts, prepared, strict=True):
            if ready is not None:
                kept, tokens, unknown = next(rows)
                table.ids.extend(done.ids[at : at + kept])
                at += kept
            elif isinstance(found := self._encode(text), Encoding):
                kept, tokens, unknown = len(found.ids), found.tokens, found.unknown
                table.ids.extend(found.ids)
            else:
                kept = tokens = unknown = 0
            table.kept.append(kept)
            table.tokens.append(tokens)
            table.unknown.append(unknown)
        return table

    def _encode(self, text: str) -> Encoding | NoWordsError:
        found = words(text)
        total = len(found)
        if not total:
            return NoWordsError()
        truncated = total > self.max_tokens
        if truncated:
            found = self._keep(found)
        # A list first: filling an array from an iterator, and counting in one, is slower.
        ids = list(map(self._ids.__getitem__, found))
        return Encoding(array(TOKEN_TYPECODE, ids), total, truncated, ids.count(UNKNOWN_ID))

    def spans(self, text: str) -> list[Span]:
        """The words behind ``encode(text).ids`` with their character offsets, one per id."""
        found = word_spans(text)
        return self._keep(found) if len(found) > self.max_tokens else found

    def _keep(self, items: list[_Item]) -> list[_Item]:
        tail = self.max_tokens - self.head_tokens
        return items[: self.head_tokens] + items[len(items) - tail :]

    def save(self, path: Path) -> None:
        """Write the vocabulary as JSON (one word a line, so that versions can be compared)."""
        document = {"type": "word", "preprocessing": PREPROCESSING_VERSION, "vocabulary": self.vocabulary}
        path.write_text(json.dumps(document, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, max_tokens: int, head_tokens: int) -> Tokenizer:
        """Read what ``save`` wrote.

        Raises:
            CheckpointError: the file is missing, malformed, or of another preprocessing version.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            vocabulary = document["vocabulary"]
            version = document["preprocessing"]
            if document["type"] != "word" or not all(isinstance(word, str) for word in vocabulary):
                raise ValueError("not a word vocabulary")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: not a readable tokenizer ({type(error).__name__})") from error
        if version != PREPROCESSING_VERSION:
            raise CheckpointError(f"{path}: preprocessing version {version}, this program has {PREPROCESSING_VERSION}")
        return cls(vocabulary, max_tokens, head_tokens)


def build_vocabulary(texts: Iterable[str], size: int) -> list[str]:
    """The ``size - 2`` most frequent words of ``texts`` behind the padding and the unknown token.

    Words of equal frequency are ordered alphabetically, so that the vocabulary depends on the texts alone.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(words(text))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [PAD_TOKEN, UNKNOWN_TOKEN, *(word for word, _ in ranked[: size - 2])]


def load_tokenizer(model: StoredModel) -> Tokenizer:
    """The tokenizer of a stored version, checked against its configuration.

    Raises:
        CheckpointError: unreadable, or not the one the configuration describes.
    """
    path = model.path / TOKENIZER_FILE
    config = model.config
    if config.preprocessing != PREPROCESSING_VERSION:
        raise CheckpointError(
            f"{model.path / CONFIG_FILE}: preprocessing version {config.preprocessing}, "
            f"this program has {PREPROCESSING_VERSION}"
        )
    tokenizer = Tokenizer.load(path, config.max_tokens, config.head_tokens)
    if len(tokenizer) != config.vocabulary_size:
        raise CheckpointError(f"{path}: {len(tokenizer)} words, {CONFIG_FILE} says {config.vocabulary_size}")
    return tokenizer
