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
        texts = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
        self._known = [_frequent(keys, texts[ends], min_texts) for keys, ends in self._keys(documents)]

    def __len__(self) -> int:
        return sum(map(len, self._known))

    def presence(self, documents: Sequence[Sequence[str]]) -> csr_matrix:
        """(N, G) 1 where a text, given as words, has an n-gram, else 0; float32."""
        lengths = [len(document) for document in documents]
        texts = np.repeat(np.arange(len(documents)), lengths)
        found = list(self._found(documents))
        row = np.concatenate([texts[ends] for ends, _ in found])
        column = np.concatenate([columns for _, columns in found])
        matrix = csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=(len(documents), len(self)))
        matrix.data[:] = 1  # an n-gram that a text has twice was added up
        matrix.sort_indices()
        return matrix

    def weights_at_words(self, documents: Sequence[Sequence[str]], weights: np.ndarray) -> np.ndarray:
        """Sum of the weights (G,) of the n-grams that end at each word of all texts, one after the other."""
        sums = np.zeros(sum(len(document) for document in documents))
        for ends, columns in self._found(documents):
            sums[ends] += weights[columns]  # of each length one n-gram at most ends at a word
        return sums

    def _found(self, documents: Sequence[Sequence[str]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each n, where known n-grams end, as a position among all words of all texts, and their columns."""
        base = 0
        for known, (keys, ends) in zip(self._known, self._keys(documents), strict=True):
            place = np.minimum(np.searchsorted(known, keys), max(0, len(known) - 1))
            hit = known[place] == keys if len(known) else np.zeros(len(keys), dtype=bool)
            yield ends[hit], place[hit] + base
            base += len(known)

    def _keys(self, documents: Sequence[Sequence[str]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each n, the keys of all n-grams of known words and the position at which each ends."""
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
            yield keys[valid], np.flatnonzero(valid) + size - 1


def _frequent(keys: np.ndarray, texts: np.ndarray, min_texts: int) -> np.ndarray:
    """The keys that at least ``min_texts`` texts have, ascending."""
    order = np.lexsort((texts, keys))
    keys, texts = keys[order], texts[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = (keys[1:] != keys[:-1]) | (texts[1:] != texts[:-1])
    found, counts = np.unique(keys[first], return_counts=True)
    return np.asarray(found[counts >= min_texts])
