"""The compiled half of the tokenizer, ``words.c``, as Python sees it. Optional: without it Python does the same."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from app.compiler import WORDS
from app.errors import NoWordsError
from app.sentiment import TOKEN_TYPECODE, UNKNOWN_ID, Encoding, EncodingTable

_INT64 = "q"
_ID_BYTES = array(TOKEN_TYPECODE).itemsize
_COUNTS_BYTES = 3 * array(_INT64).itemsize
"""Size of ``struct counts``: tokens, kept, unknown."""


class CompiledVocabulary:
    """Words and their ids in the compiled code's memory. Immutable; ``encode`` releases the interpreter lock.

    Args:
        library: the loaded library.
        words: different words.
        first: id of the first of them.

    Raises:
        MemoryError: no room for them.
    """

    def __init__(self, library: ctypes.CDLL, words: Sequence[str], first: int) -> None:
        self._library = library
        encoded = [word.encode("utf-8", "surrogatepass") for word in words]
        ends = array(TOKEN_TYPECODE, accumulate(map(len, encoded)))
        self._words = library.words_new(b"".join(encoded), ends.buffer_info()[0], len(words), first)
        if not self._words:
            raise MemoryError("no memory for a vocabulary")
        self._encode = library.words_encode

    def __del__(self) -> None:
        self._library.words_free(getattr(self, "_words", None))

    def encode(self, texts: Sequence[bytes], most: int, head: int) -> list[Encoding | NoWordsError]:
        """Token ids of texts as ``preprocessing.plain`` returns them, in one call; an error for one without words.

        Args:
            texts: ASCII.
            most: most ids kept of a text.
            head: how many of these are taken from the start of a text that has more.
        """
        table = self.encode_table(texts, most, head)
        results: list[Encoding | NoWordsError] = []
        at = 0
        for kept, tokens, unknown in zip(table.kept, table.tokens, table.unknown, strict=True):
            ids = table.ids[at : at + kept]
            results.append(Encoding(ids, tokens, tokens > kept, unknown) if tokens else NoWordsError())
            at += kept
        return results

    def encode_one(self, text: bytes, most: int, head: int) -> Encoding | NoWordsError:
        """``encode`` of one text, without what several need."""
        ids, counts = array(TOKEN_TYPECODE, bytes(_ID_BYTES * len(text))), array(_INT64, bytes(_COUNTS_BYTES))
        self._call(text, array(_INT64, [len(text)]), most, head, ids, counts)
        tokens, kept, unknown = counts
        del ids[kept:]
        return Encoding(ids, tokens, tokens > kept, unknown) if tokens else NoWordsError()

    def encode_table(self, texts: Sequence[bytes], most: int, head: int) -> EncodingTable:
        """Token ids of texts in one piece. See ``encode``."""
        lengths = list(map(len, texts))
        ends = array(_INT64, accumulate(lengths))
        room = sum([min(length, most) for length in lengths]) + max(0, max(lengths, default=0) - most)
        ids, counts = array(TOKEN_TYPECODE, bytes(_ID_BYTES * room)), array(_INT64, bytes(_COUNTS_BYTES * len(lengths)))
        self._call(b"".join(texts), ends, most, head, ids, counts)
        tokens, kept, unknown = (counts[at::3].tolist() for at in range(3))
        del ids[sum(kept) :]
        return EncodingTable(ids, kept, tokens, unknown)

    def _call(self, texts: bytes, ends: array[int], most: int, head: int, ids: array[int], counts: array[int]) -> None:
        """Fill ``ids`` and ``counts`` for texts that end at ``ends``."""
        self._encode(
            self._words,
            texts,
            ends.buffer_info()[0],
            len(ends),
            UNKNOWN_ID,
            most,
            head,
            ids.buffer_info()[0],
            counts.buffer_info()[0],
        )


def compiled_vocabulary(words: Sequence[str], first: int) -> CompiledVocabulary | None:
    """A vocabulary for the compiled code; None where there is none for this system."""
    library = _load(WORDS.path)
    return None if library is None else CompiledVocabulary(library, words, first)


@lru_cache
def _load(path: Path) -> ctypes.CDLL | None:
    if not WORDS.is_current(path):
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError:  # built for another system
        return None
    library.words_new.restype = ctypes.c_void_p
    library.words_new.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32]
    library.words_free.restype = None
    library.words_free.argtypes = [ctypes.c_void_p]
    library.words_encode.restype = None
    library.words_encode.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int32,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return library
