"""Rows that stand for the others: a bounded number of them, the same for the same file."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from app.text.preprocessing2 import words

SAMPLE_ROWS = 5_000
"""Rows of each label that words are counted in, and typical rows are chosen from, where there are few labels."""
_SAMPLE_IN_ALL = 15_000
SAMPLE_CHARACTERS = 2_000
"""Characters of a text that words are counted in."""
TYPICAL_ROWS = 500
"""Rows of each label that are compared with each other."""
SHOWN_ROWS = 4
SHOWN_CHARACTERS = 280
_SEED = 20


class Example(NamedTuple):
    """A row to be shown.

    Attributes:
        file: which of the files it is in, from 0.
        row: its number there, from 1, the header not counted.
        text: its text, cut.
        label: its label.
        score: the label's probability.
        rating: its stars, where there are any.
    """

    file: int
    row: int
    text: str
    label: str
    score: float
    rating: float | None


class Extremes:
    """The rows with the highest scores, or the lowest; of equals the first, of the same text one.

    Args:
        most: how many are kept.
        sign: 1 for the highest, -1 for the lowest.
    """

    def __init__(self, most: int, sign: int = 1) -> None:
        self._most = most
        self._sign = sign
        self._heap: list[tuple[float, int, Example]] = []
        self._texts: set[str] = set()
        self._count = 0

    def add(self, example: Example) -> None:
        """Keep the row, if it is one of them."""
        self._count -= 1
        entry = (self._sign * example.score, self._count, example)
        if len(self._heap) == self._most and entry < self._heap[0]:
            return
        if example.text not in self._texts:
            self._texts.add(example.text)
            heapq.heappush(self._heap, entry)
            if len(self._heap) > self._most:
                self._texts.discard(heapq.heappop(self._heap)[2].text)

    def rows(self) -> list[Example]:
        """The most extreme first."""
        return [example for *_, example in sorted(self._heap, reverse=True)]


class Sample:
    """Some rows of each label, every row as likely as any other of that label: those with the smallest random numbers.

    Args:
        in_all: rows of all labels together.
        each: rows of one label at the most.
    """

    def __init__(self, in_all: int = _SAMPLE_IN_ALL, each: int = SAMPLE_ROWS) -> None:
        self._in_all = in_all
        self._size = each
        self._chance = random.Random(_SEED)
        self._heaps: dict[str, list[tuple[float, Example]]] = {}

    def add(self, example: Example) -> None:
        """Keep the row, if its number is small enough."""
        number = -self._chance.random()
        heap = self._heaps.get(example.label)
        if heap is None:
            heap = self._heaps[example.label] = []
            self._shrink()
        if len(heap) < self._size:
            heapq.heappush(heap, (number, example))
        elif number > heap[0][0]:
            heapq.heapreplace(heap, (number, example))

    def _shrink(self) -> None:
        self._size = max(1, min(self._size, self._in_all // len(self._heaps)))
        for heap in self._heaps.values():
            while len(heap) > self._size:
                heapq.heappop(heap)

    def rows(self, label: str) -> list[Example]:
        """The rows of a label, in an order that says nothing."""
        return [example for _, example in sorted(self._heaps.get(label, []), reverse=True)]


def cut(text: str, characters: int) -> str:
    """A text in one line of so many characters at the most, cut between words where there is a space."""
    text = " ".join(text[: 4 * characters].split()) + ("" if len(text) <= 4 * characters else " ")
    if len(text) <= characters:
        return text
    start = text[: characters - 1]
    space = start.rfind(" ")
    return f"{start[:space] if space > characters // 2 else start}…"


def typical(rows: Sequence[Example]) -> list[Example]:
    """Rows of usual length, those whose words are most like those of all the others first.

    That is the cosine between a row's TF-IDF weights and their mean over the rows (Salton and Buckley, 1988; here each
    word counts once), among rows of usual length: the middle half. Of the same text one is taken.
    """
    bags = [frozenset(words(row.text)) for row in rows]
    in_rows = Counter(word for bag in bags for word in bag)
    weights = {word: math.log((1 + len(bags)) / (1 + count)) + 1 for word, count in in_rows.items()}
    lengths = [math.sqrt(sum(weights[word] ** 2 for word in sorted(bag))) or 1.0 for bag in bags]
    center: defaultdict[str, float] = defaultdict(float)
    for bag, length in zip(bags, lengths, strict=True):
        for word in sorted(bag):
            center[word] += weights[word] / length
    sizes = sorted(map(len, bags))
    usual = range(sizes[len(sizes) // 4], sizes[3 * len(sizes) // 4] + 1) if sizes else range(0)
    alike = sorted(
        (-sum(center[word] * weights[word] for word in sorted(bag)) / length, row.file, row.row, row)
        for row, bag, length in zip(rows, bags, lengths, strict=True)
        if len(bag) in usual
    )
    return [row for *_, row in alike]


def varied(rows: Sequence[Example], most: int) -> list[Example]:
    """The first rows that do not say nearly the same as one before them: more than half of all their words."""
    taken: list[tuple[frozenset[str], Example]] = []
    for row in rows:
        bag = frozenset(words(row.text)) or frozenset([row.text])
        if len(taken) < most and not any(2 * len(bag & other) > len(bag | other) for other, _ in taken):
            taken.append((bag, row))
    return [row for _, row in taken]
