"""What is written is what was read, with the results behind it, in every format out of every other."""

from __future__ import annotations

import bz2
import csv
import datetime as dt
import decimal
import gzip
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DataError
from app.files.compression import decompressed
from app.files.layout import Compression, Format, Layout
from app.files.options import OnBadRow, Quoting
from app.files.results import ResultColumns
from app.files.writing import Style, encoder_for
from tests.files.tables import CSV, JSONL, LABELS, PARQUET, TSV, XLSX, encoded, prediction_for, table_of, workbook

ROWS = [("1", 'Good; "very" good'), ("2", ""), ("3", "Two\nlines, a\ttab and a longer text " * 4), ("4", "Ü 👍🏽")]
SEPARATORS = {Format.CSV: ",", Format.TSV: "\t"}
OBJECTS = [{"id": int(number), "review": text} for number, text in ROWS]


def source(layout: Layout) -> bytes:
    if layout is JSONL:
        return "\n".join(json.dumps(row) for row in OBJECTS).encode()
    if layout is PARQUET:
        return parquet(pa.Table.from_pylist(OBJECTS))
    text = io.StringIO()
    csv.writer(text, delimiter=SEPARATORS[layout.format]).writerows([("id", "review"), *ROWS])
    return text.getvalue().encode()


def parquet(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def results(text: str) -> dict[str, Any]:
    if not text:
        names = ("label", "score", "tokens", "truncated", "unknown", "judgement")
        return {**dict.fromkeys(names), "error": "empty_cell"}
    prediction = prediction_for(text)
    label, score = prediction.best(LABELS)
    return {
        "label": label,
        "score": score,
        "tokens": prediction.tokens,
        "truncated": prediction.truncated,
        "unknown": prediction.unknown,
        "judgement": prediction.judgement,
        "error": None,
    }


@pytest.mark.parametrize("given_layout", [CSV, TSV, JSONL, PARQUET], ids=lambda layout: layout.format)
@pytest.mark.parametrize("layout", [CSV, TSV, JSONL, PARQUET], ids=lambda layout: layout.format)
def test_every_format_becomes_every_other(given_layout: Layout, layout: Layout, tmp_path: Path) -> None:
    """Columns and order are the user's; values keep their type where both formats have it."""
    data = encoded(table_of(source(given_layout), given_layout), layout, tmp_path)
    typed = given_layout in (JSONL, PARQUET)
    expected = [{**row, **results(str(row["review"]))} for row in OBJECTS]
    if layout in (CSV, TSV):
        found = list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=SEPARATORS[layout.format]))
        assert found[0] == list(expected[0])
        plain = {None: "", True: "true", False: "false"}
        assert found[1:] == [
            [plain[value] if value is None or value is True or value is False else str(value) for value in row.values()]
            for row in expected
        ]
        return
    for row in expected:
        row["id"] = row["id"] if typed else str(row["id"])
    if layout is JSONL:
        assert [json.loads(line) for line in data.splitlines()] == expected
        assert list(json.loads(data.splitlines()[0])) == list(expected[0])
    else:
        table = pq.read_table(io.BytesIO(data))
        assert table.to_pylist() == expected
        assert table.schema.names == list(expected[0])
        assert table.schema.field("id").type == (pa.int64() if typed else pa.string())


VALUE = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20)


@given(st.lists(st.tuples(VALUE, VALUE), min_size=1), st.sampled_from([CSV, TSV]))
def test_any_values_survive(rows: list[tuple[str, str]], layout: Layout) -> None:
    """Quotation marks, line ends, separators and all of Unicode come back from the standard library's reader."""
    text = io.StringIO()
    csv.writer(text, delimiter=SEPARATORS[layout.format]).writerows([("review", "other"), *rows])
    table = table_of(text.getvalue().encode(), layout)
    encoder = encoder_for(table, ResultColumns.beside(table.columns, LABELS, rating=False), Style(layout.format))
    [window] = table.windows()
    data = encoder.encode(window, [(None,) * 5] * len(window)).decode()
    found = list(csv.reader(io.StringIO(data, newline=""), delimiter=SEPARATORS[layout.format], strict=True))
    assert [tuple(row[:2]) for row in found] == rows


def test_compressed_output_is_one_gzip_file(tmp_path: Path) -> None:
    """Of several members, without times, so that the same rows are the same bytes."""
    layout = Layout(CSV.format, Compression.GZIP)
    first, again = (encoded(table_of(source(CSV)), layout, tmp_path) for _ in range(2))
    assert first == again
    assert gzip.decompress(first) == encoded(table_of(source(CSV)), CSV, tmp_path)


@pytest.mark.parametrize(
    ("compression", "decompress"),
    [
        (Compression.BZIP2, bz2.decompress),
        (Compression.ZSTD, lambda data: decompressed(io.BytesIO(data), Compression.ZSTD).read()),
    ],
    ids=["bz2", "zst"],
)
def test_other_compressions(compression: Compression, decompress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Several streams or frames in one file, which all readers take for one."""
    data = encoded(table_of(source(CSV)), Layout(CSV.format, compression), tmp_path)
    assert decompress(data) == encoded(table_of(source(CSV)), CSV, tmp_path)


FORMULAS = ["=HYPERLINK(1)", "+1+1", "-2+3", "@SUM(1)", "\tx", " =1", "＝1"]
NO_FORMULAS = ["good", "-5", "+1.5", "a=b", "'=1", ""]


@pytest.mark.parametrize("layout", [CSV, JSONL], ids=lambda layout: layout.format)
def test_formulas_are_shown_and_not_computed(layout: Layout, tmp_path: Path) -> None:
    """On demand, in the user's columns, their names and the results; nothing else is changed, and Parquet and JSON
    have no formulas."""
    rows = [{"text": "good film", "=x": value} for value in [*FORMULAS, *NO_FORMULAS]]
    text = io.StringIO()
    csv.writer(text).writerows([list(rows[0]), *(row.values() for row in rows)])
    data = text.getvalue().encode() if layout is CSV else "\n".join(map(json.dumps, rows)).encode()
    written = encoded(table_of(data, layout), CSV, tmp_path, escape_formulas=True).decode()
    found = list(csv.DictReader(io.StringIO(written, newline="")))
    assert [row["'=x"] for row in found] == [f"'{value}" for value in FORMULAS] + NO_FORMULAS
    plain = encoded(table_of(data, layout), CSV, tmp_path).decode()
    assert [row["=x"] for row in csv.DictReader(io.StringIO(plain, newline=""))] == [*FORMULAS, *NO_FORMULAS]


def test_rows_that_were_not_quoted_are_quoted(tmp_path: Path) -> None:
    """What stood there as a character would open a value in CSV."""
    table = table_of(b'id,review\n1,"open\n2,"a" b\n', quoting=Quoting.NONE)
    written = encoded(table, CSV, tmp_path).decode()
    assert [row["review"] for row in csv.DictReader(io.StringIO(written), strict=True)] == ['"open', '"a" b']


def test_marked_rows_are_rows_like_others(tmp_path: Path) -> None:
    """They can be read again, with an error that says what they are."""
    table = table_of(b'id,review\n1,good\n2,"a,b\n3,fine\n', on_bad_row=OnBadRow.MARK)
    written = list(csv.DictReader(io.StringIO(encoded(table, CSV, tmp_path).decode()), strict=True))
    assert [(row["id"], row["review"], row["error"]) for row in written] == [
        ("1", "good", ""),
        ("", '2,"a,b', "bad_row"),
        ("3", "fine", ""),
    ]


def test_a_workbook_becomes_a_table(tmp_path: Path) -> None:
    """Its numbers and dates are written as text where a format has no such types."""
    table = table_of(workbook([("id", "text", "day"), (7, 1984, dt.date(2024, 2, 29)), (1.5, "good", None)]), XLSX)
    [first, second] = map(json.loads, encoded(table, JSONL, tmp_path).splitlines())
    assert (first["id"], first["day"], first["error"]) == (7, "2024-02-29T00:00:00", None)
    assert (second["id"], second["day"]) == (1.5, None)


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    """Nested values, decimals, nanoseconds, categories and the metadata are as they were."""
    table = pa.table(
        {
            "when": pa.array([1, 2, 3], pa.timestamp("ns", "UTC")),
            "price": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("2.00")]),
            "tags": [["a"], [], None],
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
            "review": pa.array(["good film", None, "bad"], pa.large_string()),
        }
    ).replace_schema_metadata({"origin": "a survey"})
    data = encoded(table_of(parquet(table, row_group_size=2), PARQUET), PARQUET, tmp_path)
    found = pq.read_table(io.BytesIO(data))
    assert found.select(table.schema.names).cast(table.schema).equals(table)
    assert found.schema.metadata[b"origin"] == b"a survey"
    assert found.column("error").to_pylist() == [None, "empty_cell", None]


def test_parquet_values_as_text(tmp_path: Path) -> None:
    """Dates, decimals and bytes have a form in formats that know no such types."""
    table = pa.table(
        {"text": ["a"], "day": [dt.date(2024, 2, 29)], "price": [decimal.Decimal("1.10")], "raw": [b"\xff"]}
    )
    [row] = map(json.loads, encoded(table_of(parquet(table), PARQUET), JSONL, tmp_path).splitlines())
    assert (row["day"], row["price"], row["raw"]) == ("2024-02-29", "1.10", "/w==")
    assert encoded(table_of(parquet(table), PARQUET), CSV, tmp_path).splitlines()[1].startswith(b"a,2024-02-29,1.10,")


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (pa.timestamp("ns"), 1_700_000_000_123_456_000, "2023-11-14T22:13:20.123456"),
        (pa.timestamp("ns"), 1_700_000_000_123_456_789, "2023-11-14 22:13:20.123456789"),
        (pa.timestamp("ns", "Europe/Berlin"), 1_700_000_000_123_456_789, "2023-11-14 23:13:20.123456789+0100"),
        (pa.time64("ns"), 1, "00:00:00.000000001"),
        (pa.duration("ns"), 2_001, "0:00:00.000002"),
        (pa.date32(), 10**7, "29349-01-26"),
    ],
    ids=str,
)
def test_times_that_python_has_not(kind: pa.DataType, value: int, expected: str, tmp_path: Path) -> None:
    """Finer than microseconds, or after the year 9999: they are text, whether pandas is there or not."""
    table = pa.table({"text": ["a"], "when": pa.array([value]).cast(pa.int32() if kind == pa.date32() else pa.int64())})
    table = table.set_column(1, "when", table.column("when").cast(kind))
    for layout, written in ((JSONL, f'"when":"{expected}"'), (CSV, f"a,{expected},")):
        assert written.encode() in encoded(table_of(parquet(table), PARQUET), layout, tmp_path)


def test_such_times_within_other_values(tmp_path: Path) -> None:
    """Are no reason not to read the texts beside them, nor to keep them; other formats refuse them."""
    parts = pa.array([[10**7]]).cast(pa.list_(pa.int32())).cast(pa.list_(pa.date32()))
    table = pa.table({"review": pa.StructArray.from_arrays([pa.array(["a"]), parts], ["text", "when"])})
    read = table_of(parquet(table), PARQUET, "review.text")
    assert [window.texts for window in read.windows()] == [["a"]]
    assert pq.read_table(io.BytesIO(encoded(read, PARQUET, tmp_path))).select(["review"]).equals(table)
    with pytest.raises(DataError, match="column 'review' has times in it that only Parquet can hold"):
        encoded(read, JSONL, tmp_path)


def test_text_of_parquet_that_is_none(tmp_path: Path) -> None:
    """Other programs write whatever bytes they have: the column is named; beside the texts it may stay as it is."""
    damaged = pa.array([b"a\xff"]).view(pa.string())
    beside = table_of(parquet(pa.table({"text": ["a"], "x": damaged})), PARQUET)
    assert encoded(beside, PARQUET, tmp_path)
    for table in (beside, table_of(parquet(pa.table({"x": damaged})), PARQUET)):
        with pytest.raises(DataError, match="reviews: column 'x' has text that is not UTF-8"):
            encoded(table, CSV, tmp_path)


def test_what_is_no_number(tmp_path: Path) -> None:
    """Is an empty cell, and never a word that somebody wrote."""
    table = pa.table({"text": ["a", "b"], "x": [math.nan, math.inf]})
    first, second = encoded(table_of(parquet(table), PARQUET), CSV, tmp_path).splitlines()[1:]
    assert first.startswith(b"a,,")
    assert second.startswith(b"b,inf,")


def test_mixed_values_become_text_in_parquet(tmp_path: Path) -> None:
    """A column must have one type, and no row is worth stopping for."""
    rows = [{"text": "a", "x": 1}, {"text": 5, "x": {"deep": [True]}}, {"x": "as it is"}]
    data = encoded(table_of("\n".join(map(json.dumps, rows)).encode(), JSONL), PARQUET, tmp_path)
    table = pq.read_table(io.BytesIO(data))
    assert table.column("x").to_pylist() == ["1", '{"deep":[true]}', "as it is"]
    assert table.column("text").to_pylist() == ["a", "5", None]
    assert table.column("error").to_pylist() == [None, "invalid_text", "empty_cell"]


LONG = ["-9223372036854775809", "18446744073709551616", "1" + "0" * 5000]


@pytest.mark.parametrize("number", ["-9223372036854775808", "18446744073709551615", *LONG], ids=len)
def test_long_whole_numbers_stay_as_they_are(number: str, tmp_path: Path) -> None:
    """To the last digit, at any depth, whatever they become; digits in a text and other numbers are what they were."""
    line = f'{{"text":"{number}","n":{number},"deep":[{{"n":{number}}}],"x":1.5,"y":7}}'.encode()
    written = encoded(table_of(line, JSONL), JSONL, tmp_path)
    assert written.startswith(line[:-1] + b',"label":')
    [row] = csv.DictReader(io.StringIO(encoded(table_of(line, JSONL), CSV, tmp_path).decode()))
    assert (row["text"], row["n"], row["deep"], row["y"]) == (number, number, f'[{{"n":{number}}}]', "7")
    if number in LONG:
        found = pq.read_table(io.BytesIO(encoded(table_of(line, JSONL), PARQUET, tmp_path)))
        assert found.column("n").to_pylist() == [number]


@pytest.mark.parametrize("flaw", ["NaN", "1e999", '"\\ud800"', "01", "[" * 2000 + "]" * 2000])
def test_a_long_number_excuses_nothing(flaw: str) -> None:
    """What is no JSON in other rows is none beside one."""
    for number in ("7", *LONG):
        with pytest.raises(DataError, match="line 1: not JSON"):
            table_of(f'{{"text":"a","n":{number},"x":{flaw}}}'.encode(), JSONL)


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    """A header without rows is a table."""
    header = b"review,label,score,tokens,truncated,unknown,judgement,error\n"
    assert encoded(table_of(b"review\n"), CSV, tmp_path) == header
    found = pq.read_table(io.BytesIO(encoded(table_of(b"review\n"), PARQUET, tmp_path)))
    assert (found.num_rows, found.schema.names[0]) == (0, "review")


@pytest.mark.parametrize(
    ("taken", "prefix"),
    [((), ""), (("rating",), ""), (("label",), "sentiment_"), (("error", "sentiment_score"), "sentiment_2_")],
)
def test_names_that_are_taken(taken: tuple[str, ...], prefix: str) -> None:
    """All results get the same prefix where one of them has no free name; the user's columns are never touched."""
    columns = ResultColumns.beside(taken, LABELS, rating=False)
    assert list(columns.names.values()) == [
        prefix + name for name in ("label", "score", "tokens", "truncated", "unknown", "judgement", "error")
    ]


def test_repeated_columns(tmp_path: Path) -> None:
    """CSV can hold them, formats with names cannot."""
    data = b"review,,\na,1,2\n"
    assert encoded(table_of(data), CSV, tmp_path).splitlines()[1].startswith(b"a,1,2,")
    for layout in (JSONL, PARQUET):
        with pytest.raises(DataError, match="two columns are named ''"):
            encoded(table_of(data), layout, tmp_path)
