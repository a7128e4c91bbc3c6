"""The compiled half of the tokenizer, ``words.c``, as Python sees it. Optional: without it Python does the same."""

from __future__ import annotations

import ctypes
import logging
import mmap
import os
from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from app.memory_file import alone, write_at
from app.native.compiler import WORDS
from app.sentiment import TOKEN_TYPECODE, UNKNOWN_ID, EncodedTexts

logger = logging.getLogger(__name__)

_INT64 = "q"
_COUNTS = 5
"""Numbers of ``struct counts``: tokens, kept, words, unknown, foreign."""
_MARK, _MARK_BYTES = b"vocabulary", 64
"""What a shared file begins with once all of it is there, and the room for that, a cache line."""
# Zeros, to be repeated: much cheaper than arrays of zero bytes.
_ID, _COUNT = array(TOKEN_TYPECODE, [0]), array(_INT64, [0])


class CompiledVocabulary:
    """Words and their ids as the compiled code reads them. Immutable; ``encode`` releases the interpreter lock.

    Args:
        library: the loaded library.
        memory: what ``compiled_vocabulary`` or ``shared_vocabulary`` has made.
    """

    def __init__(self, library: ctypes.CDLL, memory: mmap.mmap) -> None:
        self.memory = memory
        self._words = _address(memory)
        self._encode = library.words_encode

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
    """A vocabulary for the compiled code; None where there is none for this system.

    Args:
        words: the words and their ids; several words may have one id.
        version: of the preprocessing.
        special: ids of the tokens of version 2, in the order of ``enum special``.
        foreign: ids from here on are of words that belong to other languages more than to English.
    """
    library = _load(WORDS.path)
    if library is None:
        return None
    encoded = list(map(str.encode, words))
    ends = array(TOKEN_TYPECODE, accumulate(map(len, encoded)))
    ids, specials = array(TOKEN_TYPECODE, words.values()), array(TOKEN_TYPECODE, special)
    memory = mmap.mmap(-1, _MARK_BYTES + library.words_size(len(words), ends[-1] if ends else 0))
    places = [numbers.buffer_info()[0] for numbers in (ends, ids, specials)]
    library.words_make(_address(memory), b"".join(encoded), *places[:2], len(words), version, places[2], foreign)
    return CompiledVocabulary(library, memory)


def shared_vocabulary(path: Path, make: Callable[[], CompiledVocabulary | None]) -> CompiledVocabulary | None:
    """The vocabulary in a file, which all processes that read it hold once together; None where there is none for this
    system.

    Args:
        path: of the file, which need not be there. It is written whole, so that it has no holes, for which a full disk
            would have no room when they are read.
        make: the same vocabulary, where this process is the first.
    """
    library = _load(WORDS.path)
    if library is None:
        return None
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return _unshared(make(), error)
    try:
        with alone(file):
            if os.pread(file, len(_MARK), 0) != _MARK:
                if (made := make()) is None:
                    return None
                try:
                    write_at(file, 0, memoryview(made.memory))
                    write_at(file, 0, memoryview(_MARK))
                except OSError as error:
                    return _unshared(made, error)
        return CompiledVocabulary(library, mmap.mmap(file, 0, access=mmap.ACCESS_COPY))
    finally:
        os.close(file)


def _unshared(made: CompiledVocabulary | None, error: OSError) -> CompiledVocabulary | None:
    logger.warning("a vocabulary cannot be shared (%s)", error.strerror)
    return made


def _address(memory: mmap.mmap) -> int:
    """Of the vocabulary in it."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory)) + _MARK_BYTES


@lru_cache
def _load(path: Path) -> ctypes.CDLL | None:
    if not WORDS.is_current(path):
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError:  # built for another system
        return None
    library.words_size.restype = ctypes.c_int64
    library.words_size.argtypes = [ctypes.c_int32, ctypes.c_int64]
    library.words_make.restype = None
    library.words_make.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int32,
        ctypes.c_int32,
        ctypes.c_void_p,
        ctypes.c_int32,
    ]
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
