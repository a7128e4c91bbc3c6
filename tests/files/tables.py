"""Tables and scorers for tests."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl

from app.errors import ServiceError
from app.files.layout import Format, Layout
from app.files.options import ReadOptions
from app.files.reading import Survey, open_table
from app.files.results import ResultColumns
from app.files.scorer import refusal
from app.files.table import Table, texts_of
from app.files.writing import Encoder, Style, encoder_for
from app.sentiment import Outcome, Prediction

CSV, TSV, JSONL, JSON, LINES, XLSX, PARQUET = (Layout(name) for name in Format)
LABELS = ("negative", "positive")


def table_of(data: bytes, layout: Layout = CSV, text_column: str | None = None, **given: Any) -> Table:
    """A table out of bytes, surveyed as a file is; further arguments are ``ReadOptions``."""
    options = ReadOptions(text_column, **given)
    file, survey = io.BytesIO(data), Survey(options)
    for _ in survey.steps(file, "reviews", layout):
        pass
    table = open_table(file, "reviews", layout, options, survey.columns)
    table.rows = survey.rows
    return table


def workbook(rows: Sequence[Sequence[Any]], more_sheets: int = 0) -> bytes:
    """An Excel workbook with the rows in its first sheet."""
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in rows:
        book.worksheets[0].append(list(row))
    for _ in range(more_sheets):
        book.create_sheet()
    book.save(file)
    return file.getvalue()


def objects_of(table: Table, **limits: int) -> list[dict[str, Any]]:
    """All rows."""
    return [dict(row) for window in table.windows(**limits) for row in window.objects()]


def prediction_for(text: str) -> Prediction:
    """What ``LengthScorer`` says: the longer, the better."""
    positive = min(0.99, len(text) / 100)
    strange = "Ü" in text
    return Prediction(
        (1 - positive, positive),
        tokens=len(text.split()) or 1,
        truncated=len(text) > 90,
        unknown=0.75 if strange else 0.0,
        judgement="unreadable" if strange else "ok",
    )


class LengthScorer:
    """Scores a text by its length; fails for good at the text ``poison``."""

    identity = "length"
    labels: Sequence[str] = LABELS
    rating = False

    def __init__(self, poison: str | None = None) -> None:
        self.poison = poison
        self.seen: list[object] = []

    def start(self, texts: Sequence[object]) -> Callable[[], list[Outcome]]:
        self.seen += texts

        def wait() -> list[Outcome]:
            if self.poison is not None and self.poison in texts:
                raise ServiceError("gone for good")
            return [refusal(text) or prediction_for(str(text)) for text in texts]

        return wait

    def close(self) -> None:
        pass


def encoded(table: Table, layout: Layout, folder: Path, **style: Any) -> bytes:
    """The whole file that a table becomes, with results of ``LengthScorer``; further arguments are a ``Style``."""
    columns = ResultColumns.beside(table.columns, LABELS, rating=False)
    encoder: Encoder = encoder_for(table, columns, Style(layout.format, layout.compression, **style))
    data = encoder.head()
    for window in table.windows(rows=2):
        results = [columns.result(outcome) for outcome in LengthScorer().start(texts_of(window, keep_na=False))()]
        data += encoder.encode(window, results)
    partial, out = folder / "partial", folder / "out"
    partial.write_bytes(data)
    encoder.finish(partial, out)
    return out.read_bytes()
