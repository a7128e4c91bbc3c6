"""The compiled half of the tokenizer, ``words.c``, as Python sees it. Optional: without it Python does the same."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from app.native.compiler import WORDS
from app.sentiment import TOKEN_TYPECODE, UNKNOWN_ID, EncodedTexts

_INT64 = "q"
_COUNTS = 5
"""Numbers of ``struct counts``: tokens, kept, words, unknown, foreign."""
# Zeros, to be repeated: much cheaper than arrays of zero bytes.
_ID, _COUNT = array(TOKEN_TYPECODE, [0]), array(_INT64, [0])


class CompiledVocabulary:
    """Words and their ids in the compiled code's memory. Immutable; ``encode`` releases the interpreter lock.

    Args:
        library: the loaded library.
        words: the words and their ids; several words may have one id.
        version: of the preprocessing.
        special: ids of the tokens of version 2, in the order of ``enum special``.
        foreign: ids from here on are of words that belong to other languages more than to English.

    Raises:
        MemoryError: no room for them.
    """

    def __init__(
        self, library: ctypes.CDLL, words: Mapping[str, int], version: int, special: Sequence[int], foreign: int
    ) -> None:
        self._library = library
        encoded = list(map(str.encode, words))
        ends = array(TOKEN_TYPECODE, accumulate(map(len, encoded)))
        ids, specials = array(TOKEN_TYPECODE, words.values()), array(TOKEN_TYPECODE, special)
        places = [numbers.buffer_info()[0] for numbers in (ends, ids, specials)]
        self._words = library.words_new(b"".join(encoded), *places[:2], len(words), version, places[2], foreign)
        if not self._words:
            raise MemoryError("no memory for a vocabulary")
        self._encode = library.words_encode

    def __del__(self) -> None:
        self._library.words_free(getattr(self, "_words", None))

    def encode(self, texts: Sequence[bytes], most: int, head: int) -> EncodedTexts:
        """Token ids of texts that ``plain`` of their preprocessing returned.

        Args:
            texts: as the preprocessing prepares them.
            most: most ids kept of a text.
            head: how many of these are taken from the start of a text that has more.
        """
        joined, number = b"".join(texts), len(texts)
        room = len(joined)
        if room > most:
            # A text is written whole, behind what is kept of those before, and then shortened.
            lengths = list(map(len, texts))
            room = sum([min(length, most) for length in lengths]) + max(0, max(lengths) - most)
        ends, ids, counts = array(_INT64, accumulate(map(len, texts))), _ID * room, _COUNT * (_COUNTS * number)
        self._encode(
            self._words,
            joined,
            ends.buffer_info()[0],
            number,
            UNKNOWN_ID,
            most,
            head,
            ids.buffer_info()[0],
            counts.buffer_info()[0],
        )
        found = counts.tolist()
        kept = found[1::_COUNTS]
        del ids[sum(kept) :]
        return EncodedTexts(ids, kept, found[0::_COUNTS], found[2::_COUNTS], found[3::_COUNTS], found[4::_COUNTS])


def compiled_vocabulary(
    words: Mapping[str, int], version: int, special: Sequence[int], foreign: int
) -> CompiledVocabulary | None:
    """A vocabulary for the compiled code; None where there is none for this system. See ``CompiledVocabulary``."""
    library = _load(WORDS.path)
    return None if library is None else CompiledVocabulary(library, words, version, special, foreign)


@lru_cache
def _load(path: Path) -> ctypes.CDLL | None:
    if not WORDS.is_current(path):
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError:  # built for another system
        return None
    library.words_new.restype = ctypes.c_void_p
    library.words_new.argtypes = [
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int32,
        ctypes.c_int32,
        ctypes.c_void_p,
        ctypes.c_int32,
    ]
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
