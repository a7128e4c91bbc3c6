"""What waits for the device, by age and by length, and what of it makes the next batch of the device.

What is submitted waits in parts. Where a predictor pads, each text is a part, so that texts of like lengths meet; where
none does, a part is as much of what was submitted as fits a batch, since each object beside a text costs time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from app import metrics
from app.engine.admission import QueueLimits
from app.engine.ticket import Ticket
from app.errors import DeadlineError
from app.sentiment import Scores, TextBatch, TokenIds

_BUCKET_TOKENS = 8
_LEAST_SHARE = 16
"""Texts below which what waits is not worth dividing among predictors."""
_LOOKS = 4
"""Waiting parts looked at for one batch, in its largest sizes: a long queue must not make every batch slower."""
_LIST_TEXTS = 8
"""Texts from which on a part is of a long list, which every thread takes of."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one micro-batch, see the settings of the same names, and of the queue."""

    max_batch_size: int
    max_batch_tokens: int
    max_batch_age: float
    queue: QueueLimits


class Entry(Ticket):
    """Texts that were submitted together, and the promise of their scores.

    Args:
        texts: how many.
        deadline: ``time.monotonic()`` after which nobody wants them.
        arrived: ``time.monotonic()`` when they came.
        given_up: called when they are cancelled.

    Attributes:
        parts: what of them waits.
    """

    __slots__ = ("_given_up_to", "_left", "_rows", "arrived", "deadline", "parts")

    def __init__(self, texts: int, deadline: float, arrived: float, given_up: Callable[[Entry], None]) -> None:
        super().__init__()
        self.deadline = deadline
        self.arrived = arrived
        self.parts: list[Part] = []
        self._rows: list[Scores | None] = [None] * texts
        self._left = texts
        self._given_up_to = given_up

    def computed(self, first: int, scores: Sequence[Scores | None]) -> None:
        """Take the scores of some texts, of which the first has this place; done when all have theirs."""
        self._rows[first : first + len(scores)] = scores
        self._left -= len(scores)
        if not self._left:
            self.set_result(self._rows)

    def on_done(self) -> None:
        if self._given_up:
            self._given_up_to(self)
        self.parts = []  # they know the entry, and would be garbage in a cycle


class Part:
    """Texts of one entry that are computed in one batch.

    Args:
        entry: whose they are.
        first: place of the first of them there.
        texts: token ids of each.
        lengths: how many each has.
    """

    __slots__ = ("entry", "first", "lengths", "longest", "texts", "tokens")

    def __init__(self, entry: Entry, first: int, texts: Sequence[TokenIds[int]], lengths: Sequence[int]) -> None:
        self.entry = entry
        self.first = first
        self.texts = texts
        self.lengths = lengths
        self.longest = max(lengths)
        self.tokens = sum(lengths)

    @property
    def bucket(self) -> int:
        """What it is among: parts of about its length."""
        return -(-self.longest // _BUCKET_TOKENS)

    def split(self) -> list[Part]:
        """A part for each text."""
        return [Part(self.entry, self.first + place, [ids], [len(ids)]) for place, ids in enumerate(self.texts)]


class LengthQueue:
    """Waiting parts. Every operation is constant-time in their number.

    Args:
        by_length: whether neighbours in length are asked for.

    Attributes:
        texts: texts of all of them together.
        tokens: tokens of all of them together.
        lists: how many of them are of long lists.
    """

    def __init__(self, *, by_length: bool) -> None:
        self.texts = self.tokens = self.lists = 0
        self._ordered_by_length = by_length
        self._by_age: OrderedDict[Part, None] = OrderedDict()
        self._by_length: dict[int, OrderedDict[Part, None]] = {}

    def __len__(self) -> int:
        return len(self._by_age)

    def add(self, part: Part) -> None:
        """Append a part."""
        self._by_age[part] = None
        if self._ordered_by_length:
            self._by_length.setdefault(part.bucket, OrderedDict())[part] = None
        self._count(part, 1)

    def remove(self, part: Part) -> bool:
        """Take a part out, wherever it stands; whether it was there."""
        if part not in self._by_age:
            return False
        del self._by_age[part]
        if self._ordered_by_length:
            bucket = self._by_length[part.bucket]
            del bucket[part]
            if not bucket:
                del self._by_length[part.bucket]
        self._count(part, -1)
        return True

    def _count(self, part: Part, sign: int) -> None:
        self.texts += sign * len(part.texts)
        self.tokens += sign * part.tokens
        self.lists += sign * (len(part.texts) >= _LIST_TEXTS)

    def oldest(self) -> Part | None:
        """The part that has waited longest."""
        return next(iter(self._by_age), None)

    def by_age(self, most: int) -> Iterator[Part]:
        """Parts, oldest first, at most so many; those taken meanwhile are seen all the same."""
        return iter(list(islice(self._by_age, most)))

    def neighbours(self, part: Part) -> Iterator[Part]:
        """Parts, nearest in length first, oldest first among equals. Those taken meanwhile are not seen again."""
        center = part.bucket
        for bucket in sorted(self._by_length, key=lambda length: (abs(length - center), length > center)):
            yield from list(self._by_length.get(bucket, {}))


class WaitingTexts:
    """Texts that wait, and the batches drawn from them.

    Args:
        limits: bounds of a batch.
        predictors: how many draw; what waits is divided among them.
        padded: whether batches are, so that like lengths are worth passing over older texts.
    """

    def __init__(self, limits: BatchLimits, predictors: int = 1, *, padded: bool = True) -> None:
        self.predictors = predictors
        self.padded = padded
        self._limits = limits
        self._most = 1 if padded else limits.max_batch_size
        self._queue = LengthQueue(by_length=padded)

    def __len__(self) -> int:
        return self._queue.texts

    @property
    def tokens(self) -> int:
        """Tokens of all that waits."""
        return self._queue.tokens

    @property
    def lists(self) -> bool:
        """Whether long lists wait."""
        return self._queue.lists > 0

    def add(self, batch: TextBatch, deadline: float, now: float) -> Entry:
        """Append texts."""
        entry = Entry(len(batch.lengths), deadline, now, self._forget)
        whole = Part(entry, 0, batch.texts(), batch.lengths)
        entry.parts = [whole] if self._fits(whole) else list(self._cut(whole))
        for part in entry.parts:
            self._queue.add(part)
        return entry

    def _fits(self, part: Part) -> bool:
        """Whether it makes one batch at most; a single text does, however long."""
        texts = len(part.lengths)
        return texts == 1 or (texts <= self._most and part.tokens <= self._limits.max_batch_tokens)

    def _cut(self, whole: Part) -> Iterator[Part]:
        first = tokens = 0
        for place, length in enumerate(whole.lengths):
            if place > first and (place - first == self._most or tokens + length > self._limits.max_batch_tokens):
                yield Part(whole.entry, first, whole.texts[first:place], whole.lengths[first:place])
                first, tokens = place, 0
            tokens += length
        yield Part(whole.entry, first, whole.texts[first:], whole.lengths[first:])

    def _forget(self, entry: Entry) -> None:
        """Take texts whose caller is gone out of the queue before they cost anything."""
        self._drop(entry, "cancelled")

    def _drop(self, entry: Entry, reason: str) -> None:
        dropped = sum(len(part.texts) for part in entry.parts if self._queue.remove(part))
        if dropped:
            metrics.DROPPED.labels(reason).inc(dropped)

    def draw(self, now: float) -> list[Part]:
        """Take the next batch out of the queue, shortest texts first; empty where nothing waits."""
        first = self._take_oldest(now)
        if first is None:
            return []
        batch, texts, tokens, longest = [first], len(first.texts), first.tokens, first.longest
        # Towards the end of what waits, batches get smaller, so that all predictors finish at about the same time.
        share = max(_LEAST_SHARE, -(-self._queue.texts // self.predictors))
        size = min(self._limits.max_batch_size, share)
        for part in islice(self._candidates(first, now), _LOOKS * self._limits.max_batch_size):
            if texts >= size:
                break
            count = texts + len(part.texts)
            cost = max(longest, part.longest) * count if self.padded else tokens + part.tokens
            if part.entry.done() or count > size or cost > self._limits.max_batch_tokens:
                continue
            if self._expired(part.entry, now) or not self._queue.remove(part):
                continue
            batch.append(part)
            texts, tokens, longest = count, tokens + part.tokens, max(longest, part.longest)
        return sorted(batch, key=_longest)

    def _candidates(self, first: Part, now: float) -> Iterator[Part]:
        for part in self._queue.by_age(_LOOKS * self._limits.max_batch_size):
            if self.padded and now - part.entry.arrived <= self._limits.max_batch_age:
                break
            yield part
        if self.padded:
            yield from self._queue.neighbours(first)

    def _take_oldest(self, now: float) -> Part | None:
        while (part := self._queue.oldest()) is not None:
            if not self._expired(part.entry, now):
                self._queue.remove(part)
                return part
        return None

    def _expired(self, entry: Entry, now: float) -> bool:
        if entry.deadline > now:
            return False
        self._drop(entry, "deadline")
        entry.set_exception(DeadlineError("the deadline passed while the text was waiting"))
        return True


def _longest(part: Part) -> int:
    return part.longest
