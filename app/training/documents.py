"""Document vectors trained by cosine similarity with the n-grams of the text.

Thongtan and Phienthrakul 2019, "Sentiment classification using document embeddings trained with cosine similarity"
(ACL student workshop): a text's vector is trained to tell the text's 1- to 3-grams from others, drawn by frequency to
the power of 3/4 (negative sampling, Mikolov et al. 2013), by the cosine of their vectors. No label is used, so texts
without one count as much. Only the texts given get a vector.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from tqdm import tqdm

from app.errors import DataError
from app.training.kernels import library

_SCALE = 6.0
_FREQUENCY_POWER = 0.75
# A power of two: the loop takes the low bits of a random number.
_TABLE_SIZE = 1 << 22
_LANES = 16


def document_vectors(presence: csr_matrix, *, size: int, passes: int, rate: float, seed: int = 0) -> np.ndarray:
    """Unit vectors (N, size) of N texts, in one thread; the same for the same arguments.

    Args:
        presence: (N, G) which of G n-grams are in which text.
        size: dimensions, a multiple of 16.
        passes: how often each text is visited.
        rate: step size of the first visit; falls linearly to 0.
        seed: decides initial vectors, order and draws.

    Raises:
        DataError: there is no C compiler.
    """
    loops = library()
    if loops is None:
        raise DataError("document vectors need a C compiler: install gcc or clang, or `pip install ziglang`")
    if size % _LANES:
        raise ValueError(f"size {size} is no multiple of {_LANES}")
    random = np.random.default_rng(seed)
    documents, grams = (_initial(random, count, size) for count in presence.shape)
    table = _draw_table(presence)
    # Copies: the loop shuffles them.
    starts, indices = presence.indptr.astype(np.int64), np.array(presence.indices, dtype=np.int32)
    for number in tqdm(range(passes), desc="document vectors"):
        order = random.permutation(len(documents)).astype(np.int32)
        rates = (rate * (1 - np.array([number, number + 1]) / passes)).astype(np.float32)
        loops.document_pass(
            ctypes.c_int64(len(order)),
            *map(_pointer, (order, starts, indices, documents, grams)),
            ctypes.c_int64(size),
            _pointer(table),
            ctypes.c_uint64(len(table) - 1),
            _pointer(rates),
            ctypes.c_float(_SCALE),
            ctypes.c_uint64(int(random.integers(1, 1 << 63))),
        )
    return np.asarray(documents / np.linalg.norm(documents, axis=1, keepdims=True))


def _initial(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    return random.standard_normal((count, size), dtype=np.float32) / np.float32(np.sqrt(size))


def _draw_table(presence: csr_matrix) -> np.ndarray:
    weights = np.bincount(presence.indices, minlength=presence.shape[1]) ** _FREQUENCY_POWER
    shares = np.cumsum(weights) / weights.sum()
    points = (np.arange(_TABLE_SIZE) + 0.5) / _TABLE_SIZE
    return np.searchsorted(shares, points).astype(np.int32)


def _pointer(array: np.ndarray) -> Any:
    return ctypes.c_void_p(array.ctypes.data)
