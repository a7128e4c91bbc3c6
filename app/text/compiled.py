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
from app.sentiment import TOKEN_TYPECODE, UNKNOWN_ID, Encoding

_ID_BYTES = array(TOKEN_TYPECODE).itemsize


class _Counts(ctypes.Structure):
    """``struct counts``."""

    _fields_ = [(name, ctypes.c_int64) for name in ("tokens", "kept", "unknown")]
    tokens: int
    kept: int
    unknown: int


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

    def encode(self, text: bytes, most: int, head: int) -> Encoding:
        """Token ids of a text as ``preprocessing.plain`` returns it.

        Args:
            text: lower-case ASCII.
            most: most ids kept.
            head: how many of these are taken from the start of a text that has more.

        Raises:
            NoWordsError: there is no word in the text.
        """
        ids, counts = array(TOKEN_TYPECODE, bytes(_ID_BYTES * len(text))), _Counts()
        self._encode(self._words, text, len(text), UNKNOWN_ID, most, head, ids.buffer_info()[0], ctypes.byref(counts))
        if not counts.tokens:
            raise NoWordsError
        return Encoding(ids[: counts.kept], counts.tokens, counts.tokens > counts.kept, counts.unknown)


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
        ctypes.c_int64,
        ctypes.c_int32,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return library
