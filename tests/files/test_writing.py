"""What is written is what was read, with the results behind it, in every format out of every other."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DataError
from app.files.layout import Layout
from app.files.results import ResultColumns
from app.files.writing import encoder_for
from tests.files.tables import CSV, JSONL, LABELS, PARQUET, TSV, encoded, prediction_for, table_of

ROWS = [("1", 'Good; "very" good'), ("2", ""), ("3", "Two\nlines, a\ttab and a longer text " * 4), ("4", "Ü 👍🏽")]
OBJECTS = [{"id": int(number), "review": text} for number, text in ROWS]


def source(layout: Layout) -> bytes:
    if layout is JSONL:
        return "\n".join(json.dumps(row) for row in OBJECTS).encode()
    if layout is PARQUET:
        return parquet(pa.Table.from_pylist(OBJECTS))
    text = io.StringIO()
    csv.writer(text, delimiter=layout.separator).writerows([("id", "review"), *ROWS])
    return text.getvalue().encode()


def parquet(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def results(text: str) -> dict[str, Any]:
    if not text:
        return {"label": None, "score": None, "tokens": None, "truncated": None, "error": "blank_text"}
    prediction = prediction_for(text)
    label, score = prediction.best(LABELS)
    return {
        "label": label,
        "score": score,
        "tokens": prediction.tokens,
        "truncated": prediction.truncated,
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
        found = list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=layout.separator))
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
    csv.writer(text, delimiter=layout.separator).writerows([("review", "other"), *rows])
    table = table_of(text.getvalue().encode(), layout)
    encoder = encoder_for(table, ResultColumns.beside(table.columns, LABELS, rating=False), layout)
    [window] = table.windows()
    data = encoder.encode(window, [(None,) * 5] * len(window)).decode()
    found = list(csv.reader(io.StringIO(data, newline=""), delimiter=layout.separator, strict=True))
    assert [tuple(row[:2]) for row in found] == rows


def test_compressed_output_is_one_gzip_file(tmp_path: Path) -> None:
    """Of several members, without times, so that the same rows are the same bytes."""
    layout = Layout(CSV.format, compressed=True)
    first, again = (encoded(table_of(source(CSV)), layout, tmp_path) for _ in range(2))
    assert first == again
    assert gzip.decompress(first) == encoded(table_of(source(CSV)), CSV, tmp_path)


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
    assert found.column("error").to_pylist() == [None, "blank_text", None]


def test_parquet_values_as_text(tmp_path: Path) -> None:
    """Dates, decimals and bytes have a form in formats that know no such types."""
    table = pa.table(
        {"text": ["a"], "day": [dt.date(2024, 2, 29)], "price": [decimal.Decimal("1.10")], "raw": [b"\xff"]}
    )
    [row] = map(json.loads, encoded(table_of(parquet(table), PARQUET), JSONL, tmp_path).splitlines())
    assert (row["day"], row["price"], row["raw"]) == ("2024-02-29", "1.10", "/w==")
    assert encoded(table_of(parquet(table), PARQUET), CSV, tmp_path).splitlines()[1].startswith(b"a,2024-02-29,1.10,")


def test_mixed_values_become_text_in_parquet(tmp_path: Path) -> None:
    """A column must have one type, and no row is worth stopping for."""
    rows = [{"text": "a", "x": 1}, {"text": 5, "x": {"deep": [True]}}, {"x": "as it is"}]
    data = encoded(table_of("\n".join(map(json.dumps, rows)).encode(), JSONL), PARQUET, tmp_path)
    table = pq.read_table(io.BytesIO(data))
    assert table.column("x").to_pylist() == ["1", '{"deep":[true]}', "as it is"]
    assert table.column("text").to_pylist() == ["a", "5", None]
    assert table.column("error").to_pylist() == [None, "invalid_text", "blank_text"]


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
    assert encoded(table_of(b"review\n"), CSV, tmp_path) == b"review,label,score,tokens,truncated,error\n"
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
        prefix + name for name in ("label", "score", "tokens", "truncated", "error")
    ]


def test_repeated_columns(tmp_path: Path) -> None:
    """CSV can hold them, formats with names cannot."""
    data = b"review,,\na,1,2\n"
    assert encoded(table_of(data), CSV, tmp_path).splitlines()[1].startswith(b"a,1,2,")
    for layout in (JSONL, PARQUET):
        with pytest.raises(DataError, match="two columns are named ''"):
            encoded(table_of(data), layout, tmp_path)
