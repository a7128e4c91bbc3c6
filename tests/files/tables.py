"""Tables and scorers for tests."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.errors import ServiceError
from app.files.layout import Format, Layout
from app.files.reading import Survey, open_table
from app.files.results import Outcome, ResultColumns
from app.files.scorer import refusal
from app.files.table import Table
from app.files.writing import Encoder, encoder_for
from app.sentiment import Prediction

CSV, TSV, JSONL, PARQUET = (Layout(name) for name in Format)
LABELS = ("negative", "positive")


def table_of(data: bytes, layout: Layout = CSV, text_column: str | None = None) -> Table:
    """A table out of bytes, surveyed as a file is."""
    file, survey = io.BytesIO(data), Survey()
    for _ in survey.steps(file, "reviews", layout, text_column):
        pass
    table = open_table(file, "reviews", layout, text_column, survey.columns)
    table.rows = survey.rows
    return table


def objects_of(table: Table, **limits: int) -> list[dict[str, Any]]:
    """All rows."""
    return [dict(row) for window in table.windows(**limits) for row in window.objects()]


def prediction_for(text: str) -> Prediction:
    """What ``LengthScorer`` says: the longer, the better."""
    positive = min(0.99, len(text) / 100)
    return Prediction((1 - positive, positive), tokens=len(text.split()) or 1, truncated=len(text) > 90)


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


def encoded(table: Table, layout: Layout, folder: Path) -> bytes:
    """The whole file that a table becomes, with results of ``LengthScorer``."""
    columns = ResultColumns.beside(table.columns, LABELS, rating=False)
    encoder: Encoder = encoder_for(table, columns, layout)
    data = encoder.head()
    for window in table.windows(rows=2):
        results = [columns.result(outcome) for outcome in LengthScorer().start(window.texts)()]
        data += encoder.encode(window, results)
    partial, out = folder / "partial", folder / "out"
    partial.write_bytes(data)
    encoder.finish(partial, out)
    return out.read_bytes()
