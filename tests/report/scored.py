"""Scored tables for tests, written by the encoders that ``classify`` writes with."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from app.errors import EmptyCellError
from app.files.layout import Layout, layout_of
from app.files.results import ResultColumns
from app.files.writing import Style, encoder_for
from app.report.findings import Findings, Wanted
from app.report.page import page_of
from app.sentiment import Judgement, Prediction
from tests.files.tables import table_of

LABELS = ("negative", "neutral", "positive")


class Row(NamedTuple):
    """A row and what was said of it; a label of None is an empty cell."""

    text: str
    label: str | None = "positive"
    score: float = 0.9
    judgement: str = "ok"
    rating: float | None = None
    more: Sequence[str] = ()


def scored(rows: Sequence[Row], more: Sequence[str] = (), labels: Sequence[str] = LABELS, name: str = "a.csv") -> bytes:
    """The file that ``classify`` makes of a CSV file of these rows, with further columns."""
    source = io.StringIO()
    writer = csv.writer(source)
    writer.writerow(["text", *more])
    writer.writerows([row.text, *row.more] for row in rows)
    table = table_of(source.getvalue().encode("utf-8", "surrogatepass"))
    columns = ResultColumns.beside(table.columns, labels, rating=any(row.rating is not None for row in rows))
    layout: Layout = layout_of(name, written=True)
    encoder = encoder_for(table, columns, Style(layout.format, layout.compression))
    content, at = encoder.head(), 0
    for window in table.windows():
        outcomes = [_outcome(row, labels) for row in rows[at : at + len(window)]]
        content += encoder.encode(window, [columns.result(outcome) for outcome in outcomes])
        at += len(window)
    return content


def _outcome(row: Row, labels: Sequence[str]) -> Prediction | EmptyCellError:
    if row.label is None:
        return EmptyCellError()
    rest = (1 - row.score) / max(1, len(labels) - 1)
    probabilities = tuple(row.score if label == row.label else rest for label in labels)
    judgement = cast("Judgement", row.judgement)
    return Prediction(probabilities, 5, False, rating=row.rating, judgement=judgement)


def found_in(content: bytes, name: str = "scored.csv", **wanted: Any) -> Findings:
    """What a report says of a scored CSV file; further arguments are a ``Wanted``."""
    findings = Findings(Wanted(**wanted))
    findings.add(table_of(content), name, "2026-01-02 03:04")
    return findings


def page_about(rows: Sequence[Row], more: Sequence[str] = (), labels: Sequence[str] = LABELS, **wanted: Any) -> str:
    """The report on some rows."""
    return page_of(found_in(scored(rows, more, labels), **wanted), "tiny/1")


def write_scored(path: Path, rows: Sequence[Row], more: Sequence[str] = ()) -> Path:
    """A scored file."""
    path.write_bytes(scored(rows, more))
    return path
