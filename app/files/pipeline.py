"""Scores a table window by window: while one is computed, the next is read and the one before is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from app.files.results import ResultColumns, Summary
from app.files.scorer import Scorer
from app.files.table import Table, Window, texts_of
from app.files.writing import Encoder
from app.sentiment import Outcome

_AHEAD = 2
"""Windows that are begun before the first of them is waited for, so that those who compute never wait."""

W = TypeVar("W")
T = TypeVar("T")


def in_order(windows: Iterable[W], start: Callable[[W], Callable[[], T]]) -> Iterator[tuple[W, T]]:
    """Each window with what came of it, while the next are computed.

    Args:
        windows: in the order they are wanted in; read no further ahead than need be.
        start: begins with one; the call that it returns waits for what comes of it.
    """
    begun: deque[tuple[W, Callable[[], T]]] = deque()
    for window in windows:
        begun.append((window, start(window)))
        if len(begun) > _AHEAD:
            first, wait = begun.popleft()
            yield first, wait()
    for window, wait in begun:
        yield window, wait()


def score(
    table: Table,
    scorer: Scorer,
    columns: ResultColumns,
    encoder: Encoder,
    summary: Summary,
    write: Callable[[bytes], object],
    *,
    keep_na: bool = False,
) -> Iterator[int]:
    """Score the rows that the summary does not have yet; yields the rows of each window that is written.

    Args:
        table: the rows, from the first.
        scorer: who scores.
        columns: the columns that are added.
        encoder: what they are written as.
        summary: rows that are done; those of a window are added before it is written.
        write: takes the bytes of a window.
        keep_na: whether cells such as ``NA`` are texts.

    Raises:
        DataError: see ``Table.windows``.
        ServiceError: see ``Scorer.start``.
    """

    def to_do() -> Iterator[Window]:
        done = summary.rows
        for window in table.windows():
            if done > 0:
                done -= len(window)
            else:
                yield window

    def start(window: Window) -> Callable[[], list[Outcome]]:
        return scorer.start(texts_of(window, keep_na=keep_na))

    for window, outcomes in in_order(to_do(), start):
        results = [columns.result(outcome) for outcome in outcomes]
        summary.add(results, columns)
        write(encoder.encode(window, results))
        yield len(window)
