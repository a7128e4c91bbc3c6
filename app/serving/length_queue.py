"""Texts that wait for the engine, by age and by length."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from app.sentiment import Scores, TokenIds

_BUCKET_TOKENS = 8


@dataclass(eq=False, slots=True)
class Entry:
    """One waiting text.

    Attributes:
        ids: its token ids.
        deadline: ``time.monotonic()`` after which nobody wants it.
        arrived: ``time.monotonic()`` when it came.
        future: cancelled when nobody waits for it any more.
    """

    ids: TokenIds[int]
    deadline: float
    arrived: float
    future: asyncio.Future[Scores]


class LengthQueue:
    """Waiting texts. Every operation is constant-time in their number.

    Attributes:
        tokens: tokens of all of them together.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._by_age: OrderedDict[int, Entry] = OrderedDict()
        self._by_length: dict[int, OrderedDict[int, Entry]] = {}

    def __len__(self) -> int:
        return len(self._by_age)

    def add(self, entry: Entry) -> None:
        """Append a text."""
        self._by_age[id(entry)] = entry
        self._by_length.setdefault(_bucket(entry), OrderedDict())[id(entry)] = entry
        self.tokens += len(entry.ids)

    def remove(self, entry: Entry) -> None:
        """Take a text out, wherever it stands; nothing happens where it is out already."""
        if self._by_age.pop(id(entry), None) is None:
            return
        self.tokens -= len(entry.ids)
        bucket = self._by_length[_bucket(entry)]
        del bucket[id(entry)]
        if not bucket:
            del self._by_length[_bucket(entry)]

    def oldest(self) -> Entry | None:
        """The text that has waited longest."""
        return next(iter(self._by_age.values()), None)

    def by_age(self, most: int) -> Iterator[Entry]:
        """Texts, oldest first, at most so many; those taken meanwhile are seen all the same."""
        return iter(list(islice(self._by_age.values(), most)))

    def neighbours(self, entry: Entry) -> Iterator[Entry]:
        """Texts, nearest in length first, oldest first among equals. Those taken meanwhile are not seen again."""
        center = _bucket(entry)
        for bucket in sorted(self._by_length, key=lambda length: (abs(length - center), length > center)):
            yield from list(self._by_length.get(bucket, {}).values())


def _bucket(entry: Entry) -> int:
    return -(-len(entry.ids) // _BUCKET_TOKENS)
