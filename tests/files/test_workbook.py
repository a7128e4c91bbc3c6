"""Results as a workbook: what was read is there, nothing in it is computed, and what does not fit is refused."""

from __future__ import annotations

import datetime as dt
import gc
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import DataError
from app.files import workbook as writing
from app.files.results import ResultColumns
from app.files.workbook import Workbook, WorkbookEncoder
from tests.files.tables import CSV, JSONL, LABELS, PARQUET, XLSX, encoded, table_of, workbook


def cells_of(data: bytes, sheet: int = 0) -> list[list[Any]]:
    return [list(row) for row in openpyxl.load_workbook(io.BytesIO(data)).worksheets[sheet].iter_rows(values_only=True)]


def test_rows_come_with_their_results(tmp_path: Path) -> None:
    """Of CSV what is plainly a number becomes one; the rest stays the text it is."""
    data = encoded(table_of("no,review,zip\n1,Good,007\n2,,12.50\n3,Ü 👍,-1.5\n".encode()), XLSX, tmp_path)
    header, first, second, third = cells_of(data)
    assert header == ["no", "review", "zip", "label", "score", "tokens", "truncated", "unknown", "judgement", "error"]
    assert first == [1, "Good", "007", "negative", 0.96, 1, False, 0.0, "ok", None]
    assert second == [2, None, 12.5, *[None] * 6, "empty_cell"]
    assert third[:3] == [3, "Ü 👍", -1.5]


def test_dates_of_a_workbook_stay_dates(tmp_path: Path) -> None:
    """And other things keep their types too."""
    rows = [("review", "when", "stars", "liked"), ("Good", dt.datetime(2025, 3, 1, 12, 30), 4.5, True)]
    assert cells_of(encoded(table_of(workbook(rows), XLSX), XLSX, tmp_path))[1][:4] == list(rows[1])


@pytest.mark.parametrize("when", [dt.datetime(2025, 3, 1, 12, 30, tzinfo=dt.UTC), dt.datetime(1, 1, 1)])
def test_dates_that_excel_has_not(when: dt.datetime, tmp_path: Path) -> None:
    """Those with a zone and those before 1900 are text."""
    file = io.BytesIO()
    pq.write_table(pa.table({"review": ["Good"], "when": [when]}), file)
    assert cells_of(encoded(table_of(file.getvalue(), PARQUET), XLSX, tmp_path))[1][1] == when.isoformat()


def test_what_json_holds(tmp_path: Path) -> None:
    """Nested values are JSON, numbers that Excel would round are text."""
    row = {"review": "Good", "tags": ["a", 1], "id": 12345678901234567890, "part": {"x": None}}
    found = cells_of(encoded(table_of(json.dumps(row).encode(), JSONL), XLSX, tmp_path))[1]
    assert [json.loads(found[1]), found[2], json.loads(found[3])] == [["a", 1], "12345678901234567890", {"x": None}]


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "=HYPERLINK(1)", "#REF!", " =1"])
def test_nothing_is_computed(tmp_path: Path, text: str) -> None:
    """What looks like a formula, or like the error of one, is text, also when somebody edits it."""
    data = encoded(table_of(json.dumps({"review": text}).encode(), JSONL), XLSX, tmp_path)
    cell = openpyxl.load_workbook(io.BytesIO(data)).worksheets[0]["A2"]
    assert (cell.value, cell.data_type) == (text, "s")
    assert cell.quotePrefix == text.startswith(("=", "+", "-", "@"))
    assert b"<f>" not in zipfile.ZipFile(io.BytesIO(data)).read("xl/worksheets/sheet1.xml")


def test_what_excel_cannot_hold() -> None:
    """Control characters are replaced; a text that is too long for a cell is cut, and says so."""
    odd, long = written("a\x00b\x1b\ud800c"), written("x" * 40_000)
    assert odd == "a\ufffdb\ufffd\ufffdc"
    assert (len(long), long[-6:]) == (32_767, " [cut]")


def test_a_full_disk_is_one_error() -> None:
    """And none that is only printed when the workbook is forgotten."""
    book = Workbook()
    book.sheet("a", ["review"], [["Good"]])
    with pytest.raises(OSError, match="No space left"):
        book.save(Path("/dev/full"))
    del book
    gc.collect()


def written(text: str) -> Any:
    file, book = io.BytesIO(), Workbook()
    book.sheet("a/b:c", ["review"], [[text]])
    book.save(file)
    return cells_of(file.getvalue())[1][0]


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is computed where the number of rows is known, else in the end."""
    columns = ResultColumns.beside(["review"], LABELS, rating=False)
    with pytest.raises(DataError, match=r"1,048,576 rows and their header do not fit .* 1,048,576: write CSV or"):
        WorkbookEncoder(["review"], ["review"], columns, 1_048_576)
    WorkbookEncoder(["review"], ["review"], columns, 1_048_575)
    monkeypatch.setattr(writing, "MOST_ROWS", 3)
    with pytest.raises(DataError, match="3 rows and their header do not fit"):
        Workbook().sheet("rows", ["review"], [["a"]] * 3)
    with pytest.raises(DataError, match="16,385 columns do not fit"):
        Workbook().sheet("rows", ["a"] * 16_385, [])


def test_the_same_from_standard_input(tmp_path: Path) -> None:
    """Whose number of rows nobody knows before."""
    table = table_of(b"review\nGood\n", CSV)
    table.rows = None
    assert len(cells_of(encoded(table, XLSX, tmp_path))) == 2
