"""Scores a table window by window: while one is computed, the next is read and the one before is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from app.files.results import ResultColumns, Summary
from app.files.scorer import Scorer
from app.files.table import Table, Window, texts_of
from app.files.writing import Encoder
from app.sentiment import Outcome

_AHEAD = 2
"""Windows that are begun before the first of them is waited for, so that those who compute never wait."""


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

    def finish(window: Window, wait: Callable[[], list[Outcome]]) -> int:
        results = [columns.result(outcome) for outcome in wait()]
        summary.add(results, columns)
        write(encoder.encode(window, results))
        return len(window)

    done = summary.rows
    begun: deque[tuple[Window, Callable[[], list[Outcome]]]] = deque()
    for window in table.windows():
        if done > 0:
            done -= len(window)
            continue
        begun.append((window, scorer.start(texts_of(window, keep_na=keep_na))))
        if len(begun) > _AHEAD:
            yield finish(*begun.popleft())
    while begun:
        yield finish(*begun.popleft())
