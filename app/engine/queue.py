"""What waits for the device: single texts by age and length, tables by age, and what of them makes the next batch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter

from app import metrics
from app.engine.admission import QueueLimits
from app.engine.tables import TableEntry, TableQueue
from app.engine.ticket import Ticket
from app.errors import DeadlineError
from app.sentiment import TextTable, TokenIds

_length = attrgetter("length")
_LEAST_SHARE = 16
"""Texts below which what waits is not worth dividing among predictors."""
_LOOKS = 4
"""Waiting texts looked at for one batch, in its largest sizes: a long queue must not make every batch slower."""
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

    def on_done(self) -> None:
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


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one micro-batch, see the settings of the same names, and of the queue."""

    max_batch_size: int
    max_batch_tokens: int
    max_batch_age: float
    queue: QueueLimits


class WaitingTexts:
    """Texts that wait, and the batches drawn from them.

    Args:
        limits: bounds of a batch.

    Attributes:
        predictors: how many draw; what waits is divided among them.
        by_length: whether batches of like length are worth passing over older texts; otherwise none is that fits.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self.predictors = 1
        self.by_length = True
        self._limits = limits
        self._queue = LengthQueue()
        self._tables = TableQueue()
        self._table_was_last = False

    def __len__(self) -> int:
        return len(self._queue) + self._tables.texts

    @property
    def singles(self) -> int:
        """Single texts that wait, without the tables."""
        return len(self._queue)

    @property
    def tokens(self) -> int:
        """Tokens of all that waits."""
        return self._queue.tokens + self._tables.tokens

    def add(self, texts: Sequence[TokenIds[int]], deadline: float, now: float) -> list[Entry]:
        """Append texts, to be drawn in batches of like length."""
        forget = self._forget
        entries = [Entry(ids, deadline, now, forget) for ids in texts]
        for entry in entries:
            self._queue.add(entry)
        self._tell_depth()
        return entries

    def add_table(self, table: TextTable, deadline: float, now: float) -> TableEntry:
        """Append a table, to be drawn as it is."""
        entry = TableEntry(table, deadline, now, self._forget_table)
        self._tables.add(entry)
        self._tell_depth()
        return entry

    def _forget(self, entry: Entry) -> None:
        """Take a text whose caller is gone out of the queue before it costs anything."""
        before = len(self._queue)
        self._queue.remove(entry)
        if len(self._queue) < before:
            metrics.DROPPED.labels("cancelled").inc()
            self._tell_depth()

    def _forget_table(self, entry: TableEntry) -> None:
        if self._tables.remove(entry):
            metrics.DROPPED.labels("cancelled").inc(len(entry.table.lengths))
            self._tell_depth()

    def draw(self, now: float) -> list[Entry]:
        """Take the next batch out of the queue, shortest text first; empty where nothing waits."""
        first = self._take_oldest(now)
        if first is None:
            return []
        batch, longest = [first], first.length
        # Towards the end of what waits, batches get smaller, so that all predictors finish at about the same time.
        share = max(_LEAST_SHARE, -(-len(self._queue) // self.predictors))
        size = min(self._limits.max_batch_size, share)
        for entry in islice(self._candidates(first, now), _LOOKS * self._limits.max_batch_size):
            # The longest only grows: where one more as long does not fit, nothing does.
            if len(batch) >= size or longest * (len(batch) + 1) > self._limits.max_batch_tokens:
                break
            if entry.done() or max(longest, entry.length) * (len(batch) + 1) > self._limits.max_batch_tokens:
                continue
            self._queue.remove(entry)
            if not self._expired(entry, now):
                batch.append(entry)
                longest = max(longest, entry.length)
        self._tell_depth()
        return sorted(batch, key=_length)

    def draw_table(self, now: float, *, alone: bool = False) -> TableEntry | None:
        """Take the next table out of the queue; not twice in a row where single texts wait too.

        Args:
            now: ``time.monotonic()``.
            alone: only where no single text waits.
        """
        if alone and len(self._queue):
            return None
        if not self._tables or (self._table_was_last and len(self._queue)):
            self._table_was_last = self._table_was_last and alone
            return None
        while (entry := self._tables.take()) is not None:
            if entry.wanted(now):
                break
            self.drop_table(entry)
        self._table_was_last = entry is not None
        self._tell_depth()
        return entry

    @staticmethod
    def drop_table(entry: TableEntry) -> None:
        """Count a table that was drawn and is wanted no more, and tell whoever waits that it is late."""
        metrics.DROPPED.labels("cancelled" if entry.done() else "deadline").inc(len(entry.table.lengths))
        if not entry.done():
            entry.set_exception(_late())

    def _candidates(self, first: Entry, now: float) -> Iterator[Entry]:
        for entry in self._queue.by_age(_LOOKS * self._limits.max_batch_size):
            if self.by_length and now - entry.arrived <= self._limits.max_batch_age:
                break
            yield entry
        if self.by_length:
            yield from self._queue.neighbours(first)

    def _take_oldest(self, now: float) -> Entry | None:
        while (entry := self._queue.oldest()) is not None:
            self._queue.remove(entry)
            if not entry.done() and not self._expired(entry, now):
                return entry
        return None

    def _expired(self, entry: Entry, now: float) -> bool:
        if entry.deadline > now:
            return False
        metrics.DROPPED.labels("deadline").inc()
        entry.set_exception(_late())
        return True

    def _tell_depth(self) -> None:
        metrics.QUEUE_DEPTH.set(len(self))


def _late() -> DeadlineError:
    return DeadlineError("the deadline passed while the text was waiting")
