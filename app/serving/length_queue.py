"""Texts that wait for the engine, by age and by length."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice

from app.sentiment import TokenIds
from app.serving.ticket import Ticket

_BUCKET_TOKENS = 8


class Entry(Ticket):
    """One waiting text, and the promise of its scores; cancelled when nobody waits for it any more.

    Args:
        ids: its token ids.
        deadline: ``time.monotonic()`` after which nobody wants it.
        arrived: ``time.monotonic()`` when it came.
        given_up: called when it is cancelled.
    """

    __slots__ = ("_on_given_up", "arrived", "bucket", "deadline", "ids", "length")

    def __init__(
        self, ids: TokenIds[int], deadline: float, arrived: float, given_up: Callable[[Entry], None] | None = None
    ) -> None:
        super().__init__()
        self.ids = ids
        self.length = len(ids)
        self.bucket = -(-self.length // _BUCKET_TOKENS)
        self.deadline = deadline
        self.arrived = arrived
        self._on_given_up = given_up

    def settled(self) -> None:
        if self._given_up and self._on_given_up is not None:
            self._on_given_up(self)


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
        bucket = self._by_length.get(entry.bucket)
        if bucket is None:
            bucket = self._by_length[entry.bucket] = OrderedDict()
        bucket[id(entry)] = entry
        self.tokens += entry.length

    def remove(self, entry: Entry) -> None:
        """Take a text out, wherever it stands; nothing happens where it is out already."""
        if self._by_age.pop(id(entry), None) is None:
            return
        self.tokens -= entry.length
        bucket = self._by_length[entry.bucket]
        del bucket[id(entry)]
        if not bucket:
            del self._by_length[entry.bucket]

    def oldest(self) -> Entry | None:
        """The text that has waited longest."""
        return next(iter(self._by_age.values()), None)

    def by_age(self, most: int) -> Iterator[Entry]:
        """Texts, oldest first, at most so many; those taken meanwhile are seen all the same."""
        return iter(list(islice(self._by_age.values(), most)))

    def neighbours(self, entry: Entry) -> Iterator[Entry]:
        """Texts, nearest in length first, oldest first among equals. Those taken meanwhile are not seen again."""
        center = entry.bucket
        for bucket in sorted(self._by_length, key=lambda length: (abs(length - center), length > center)):
            yield from list(self._by_length.get(bucket, {}).values())
