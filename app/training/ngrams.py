"""Which 1- to 3-grams of words are in which text, as a sparse matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import csr_matrix

LONGEST = 3
# Bits of a word's number in an n-gram's key: three of them make one 64-bit integer.
_BITS = 20


class Ngrams:
    """The n-grams that at least so many of some texts have.

    Args:
        documents: those texts, as words.
        min_texts: how many texts must have an n-gram.

    An n-gram is the number of its column. Words beyond the million most frequent ones count as unknown; an n-gram with
    an unknown word is in no text.
    """

    def __init__(self, documents: Sequence[Sequence[str]], min_texts: int) -> None:
        counts = Counter(word for document in documents for word in document)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: (1 << _BITS) - 1]
        self._numbers = {word: number for number, (word, _) in enumerate(ranked, start=1)}
        self._known = [_frequent(keys, texts, min_texts) for keys, texts in self._keys(documents)]

    def __len__(self) -> int:
        return sum(map(len, self._known))

    def presence(self, documents: Sequence[Sequence[str]]) -> csr_matrix:
        """(N, G) 1 where a text, given as words, has an n-gram, else 0; float32."""
        rows, columns, base = [], [], 0
        for known, (keys, texts) in zip(self._known, self._keys(documents), strict=True):
            if len(known):
                place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
                found = known[place] == keys
                rows.append(texts[found])
                columns.append(place[found] + base)
            base += len(known)
        row, column = np.concatenate([*rows, _NONE]), np.concatenate([*columns, _NONE])
        matrix = csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=(len(documents), base))
        matrix.data[:] = 1  # an n-gram that a text has twice was added up
        matrix.sort_indices()
        return matrix

    def _keys(self, documents: Sequence[Sequence[str]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each n, the keys of all n-grams of known words and the text each is in."""
        numbers = self._numbers
        lengths = [len(document) for document in documents]
        words = np.fromiter((numbers.get(word, 0) for d in documents for word in d), np.int64, sum(lengths))
        texts = np.repeat(np.arange(len(documents)), lengths)
        for size in range(1, LONGEST + 1):
            end = max(0, len(words) - size + 1)
            keys, valid = np.zeros(end, dtype=np.int64), np.ones(end, dtype=bool)
            for at in range(size):
                part = words[at : at + end]
                keys = (keys << _BITS) | part
                valid &= (part > 0) & (texts[at : at + end] == texts[:end])
            yield keys[valid], texts[:end][valid]


_NONE = np.zeros(0, dtype=np.int64)


def _frequent(keys: np.ndarray, texts: np.ndarray, min_texts: int) -> np.ndarray:
    """The keys that at least ``min_texts`` texts have, ascending."""
    order = np.lexsort((texts, keys))
    keys, texts = keys[order], texts[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = (keys[1:] != keys[:-1]) | (texts[1:] != texts[:-1])
    found, counts = np.unique(keys[first], return_counts=True)
    return np.asarray(found[counts >= min_texts])
