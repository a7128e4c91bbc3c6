"""A table on its way to its results, with a bar, a closing summary, and an end that can be gone on from."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from app.errors import DataError, ServiceError
from app.files.options import OnBadRow
from app.files.partial import PartialFile
from app.files.pipeline import score
from app.files.results import ResultColumns, Summary
from app.files.scorer import Scorer
from app.files.table import BadRows, Table
from app.files.writing import Style, encoder_for


class Job:
    """A table that is scored and written.

    Args:
        table: the rows.
        scorer: who scores.
        style: how the results are written.
        keep_na: whether cells such as ``NA`` are texts.
    """

    def __init__(self, table: Table, scorer: Scorer, style: Style, *, keep_na: bool) -> None:
        self.table = table
        self.scorer = scorer
        self.columns = ResultColumns.beside(table.columns, scorer.labels, rating=scorer.rating)
        self.encoder = encoder_for(table, self.columns, style)
        self._keep_na = keep_na

    def run(self, summary: Summary, write: Callable[[bytes], object]) -> None:
        """Score the rows that the summary does not have yet."""
        before = summary.rows
        if not before and (head := self.encoder.head()):
            write(head)
        started = time.monotonic()
        total = self.table.rows
        bar = tqdm(total=total, initial=before, unit=" rows", unit_scale=True, smoothing=0.1, disable=None)
        scored = score(self.table, self.scorer, self.columns, self.encoder, summary, write, keep_na=self._keep_na)
        with bar:
            for rows in scored:
                bar.update(rows)
        seconds, rows = time.monotonic() - started, summary.rows - before
        say(f"{rows:,} rows in {seconds:.1f} s ({rows / max(seconds, 1e-9):,.0f}/s), {self.scorer.identity}")
        say("\n".join(summary.lines(self.scorer.labels)))
        if summary.hardly_readable:
            say(
                f"warning: {summary.judgements['unreadable']:,} of {summary.rows:,} rows are hardly of words that the "
                f"model knows; are the texts in {self.table.text_column!r}, and in the model's language?"
            )

    def to_file(self, out: Path, inputs: Mapping[str, Any] | None, *, overwrite: bool) -> None:
        """Write a file, from where an earlier run was stopped; see ``PartialFile``."""
        with PartialFile(out, inputs, overwrite=overwrite) as partial:
            if partial.rows:
                say(f"{partial.rows:,} rows were done before; going on from there")
            try:
                with _interrupted_between(partial.append) as append:
                    self.run(partial.progress.summary, append)
                partial.finish(self.encoder)
            except (KeyboardInterrupt, ServiceError, DataError):
                if partial.rows and inputs is not None:
                    say(f"\n{partial.rows:,} rows are done; the same command goes on from there")
                raise


@contextmanager
def _interrupted_between(append: Callable[[bytes], None]) -> Iterator[Callable[[bytes], None]]:
    """Let Ctrl-C take effect when the rows at hand are written; a second one does at once.

    An interrupt in the middle of anything can be lost: in a finalizer, say, it is only printed. Only the main thread is
    ever interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield append
        return
    stopped = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True

    def append_and_look(data: bytes) -> None:
        append(data)
        if stopped:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield append_and_look
    finally:
        signal.signal(signal.SIGINT, before)


def say(line: str) -> None:
    """Tell people something beside the results."""
    print(line, file=sys.stderr)


def say_found(name: str, table: Table, bad: BadRows) -> None:
    """Tell people how a file is read, as far as nobody told it, and which rows are not as they should be."""
    say(f"{name}: {table.found}; the texts are in {table.text_column!r}")
    say_bad_rows(name, bad)


def say_bad_rows(name: str, bad: BadRows) -> None:
    """Likewise, of those rows alone."""
    if bad.count:
        done = "left out" if bad.policy is OnBadRow.SKIP else "marked"
        say(f"{name}: rows that are not as they should be and are {done}: {bad.count:,}; the first is {bad.first}")
