"""Tables out of files: columns, rows and order as they are, and messages that lead to what is off."""

from __future__ import annotations

import csv
import gzip
import io
import json
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DataError
from app.files.delimited import split_record
from app.files.layout import Layout, layout_of
from app.files.lines import LONGEST_ROW
from app.files.reading import Survey
from app.files.table import MOST_COLUMNS, Kind
from tests.files.tables import CSV, JSONL, PARQUET, TSV, objects_of, table_of

REVIEWS = b'id,review\n007,"Good, very good"\n8,"Two\nlines and ""quotes"""\n'


@pytest.mark.parametrize(
    ("data", "layout"),
    [
        (REVIEWS, CSV),
        (b"\xef\xbb\xbf" + REVIEWS.replace(b"\n", b"\r\n").replace(b"Two\r\n", b"Two\n"), CSV),
        (b"\n" + REVIEWS + b"\n\n", CSV),
        (REVIEWS.replace(b",", b"\t").replace(b"\t very", b", very"), TSV),
        (REVIEWS.replace(b",", b";").replace(b"; very", b", very"), Layout(CSV.format, delimiter=";")),
        (gzip.compress(REVIEWS), Layout(CSV.format, compressed=True)),
        (b'{"id":"007","review":"Good, very good"}\n\n{"id":"8","review":"Two\\nlines and \\"quotes\\""}', JSONL),
    ],
)
def test_the_same_table_in_every_dress(data: bytes, layout: Layout) -> None:
    """Line ends, byte order mark, blank lines, separators and compression change nothing; no value is reformatted."""
    table = table_of(data, layout)
    assert (table.text_column, table.rows, list(table.columns)) == ("review", 2, ["id", "review"])
    assert objects_of(table) == [
        {"id": "007", "review": "Good, very good"},
        {"id": "8", "review": 'Two\nlines and "quotes"'},
    ]


def test_another_encoding() -> None:
    """Named, because it cannot be known."""
    [row] = objects_of(table_of("review\nÀ la carte\n".encode("cp1252"), Layout(CSV.format, encoding="cp1252")))
    assert row == {"review": "À la carte"}


BROKEN = [
    (b"", CSV, "reviews: the file is empty"),
    (b"\n\n", CSV, "reviews: the file is empty"),
    (b"", JSONL, "reviews: the file is empty"),
    (b"id,truth\n1,2\n", CSV, "reviews: which column has the texts? There are 'id', 'truth'"),
    (b"review,review\na,b\n", CSV, "reviews: two columns are named 'review'"),
    (b"id,review\n1,a\n2,b,c\n", CSV, "reviews, line 3: 3 values in a row, but the header names 2 columns"),
    (b'id,review\n1,"a\nb"\n2\n', CSV, "reviews, line 4: 1 values in a row, but the header names 2 columns"),
    (b'id,review\n1,a\n2,"b\nc\n', CSV, "reviews, line 3: not as CSV should be (unexpected end of data)"),
    (b'id,review\n1,"a"b\n', CSV, "reviews, line 2: not as CSV should be"),
    (b"id,review\n1,a\n2,caf\xe9 x\n", CSV, "reviews, line 3: byte 6 (0xe9) is not utf-8"),
    (b"review\n\xe9\n", Layout(CSV.format, compressed=True), "reviews, line 1: cannot be read"),
    (gzip.compress(REVIEWS)[:-12], Layout(CSV.format, compressed=True), "cannot be read"),
    (gzip.compress(REVIEWS), CSV, "this is compressed with gzip"),
    ("review\na".encode("utf-16"), CSV, "this is UTF-16"),
    (b"PK\x03\x04rest", CSV, "this is a spreadsheet"),
    (b"PAR1rest", CSV, "this is Parquet"),
    (b'{"review":"a"}\n{"review":\n', JSONL, "reviews, line 2: not JSON ("),
    (b'{"review":"a"}\n{"review":"b","x":%b1%b}\n' % (b"[" * 300, b"]" * 300), JSONL, "reviews, line 2: not JSON ("),
    (b'{"review":"a"}\n["b"]\n', JSONL, "reviews, line 2: not a JSON object"),
    (b"not parquet", PARQUET, "reviews: not a readable Parquet file"),
]


@pytest.mark.parametrize(("data", "layout", "message"), BROKEN)
def test_what_is_off_is_named(data: bytes, layout: Layout, message: str) -> None:
    """File and line, and what is wrong there."""
    with pytest.raises(DataError) as caught:
        table_of(data, layout)
    assert message in str(caught.value)


def test_a_missing_column_is_named_with_those_there_are() -> None:
    """For every format; for JSON lines after all of them were looked at."""
    for data, layout in ((REVIEWS, CSV), (b'{"id":1}\n{"review":"a"}', JSONL)):
        with pytest.raises(DataError, match="reviews: no column 'text'; there are 'id', 'review'"):
            table_of(data, layout, "text")


def test_a_row_is_bounded() -> None:
    """A quotation mark that is never closed must not read the whole file into memory."""
    data = b'review\n"' + b"line after line\n" * (LONGEST_ROW // 16 + 1)
    with pytest.raises(DataError, match="is a quotation mark never closed"):
        table_of(data)
    with pytest.raises(DataError, match=f"more than {LONGEST_ROW} bytes"):
        table_of(b'{"review":"' + b"a" * LONGEST_ROW + b'"}', JSONL)


MANY = [str(number) for number in range(MOST_COLUMNS)]


@pytest.mark.parametrize(
    ("within", "beyond", "layout", "message"),
    [
        (",".join(["text", *MANY[1:]]), ",".join(["text", *MANY]), CSV, "line 1: 10001 columns; the limit is 10000"),
        (
            "\n".join(f'{{"text":"a","{name}":1}}' for name in MANY[1:]),
            "\n".join(f'{{"text":"a","{name}":1}}' for name in MANY),
            JSONL,
            "line 10000: one more field; the limit is 10000 different ones",
        ),
        (
            f'{{"text":"a","{"n" * 1000}":1}}',
            f'{{"text":"a","{"n" * 1001}":1}}',
            JSONL,
            "line 1: a field's name has 1001 characters; the limit is 1000",
        ),
    ],
    ids=["columns", "fields", "name"],
)
def test_names_are_bounded(within: str, beyond: str, layout: Layout, message: str) -> None:
    """All of them are kept while a file is scored, so that no file may bring more than fit into memory."""
    assert table_of(within.encode(), layout).text_column == "text"
    with pytest.raises(DataError, match=f"reviews, {message}"):
        table_of(beyond.encode(), layout)


def test_columns_of_parquet_are_bounded() -> None:
    """Likewise, although the file itself holds them."""
    file = io.BytesIO()
    pq.write_table(pa.table({name: ["a"] for name in ["text", *MANY]}), file)
    with pytest.raises(DataError, match="reviews: 10001 columns; the limit is 10000"):
        table_of(file.getvalue(), PARQUET)


def test_windows_are_bounded_and_always_the_same() -> None:
    """By rows and by characters, whichever comes first."""
    data = b"review\n" + b"".join(b"%s\n" % (b"x" * size) for size in (1, 1, 1, 50, 1, 60))
    for _ in range(2):
        assert [len(window) for window in table_of(data).windows(rows=2, characters=40)] == [2, 2, 2]
        assert [len(window) for window in table_of(data).windows(rows=9, characters=40)] == [4, 2]


def test_objects_need_not_be_alike() -> None:
    """Columns are all fields in the order in which they come first; kinds hold for every row."""
    rows: list[dict[str, Any]] = [
        {"text": "a", "n": None, "x": 1, "y": True},
        {"n": 2, "text": None, "x": 1.5, "z": [1], "y": 0, "big": 2**63},
    ]
    table = table_of(b"\n".join(json.dumps(row).encode() for row in rows), JSONL)
    assert objects_of(table) == rows
    assert table.columns == {
        "text": Kind.TEXT,
        "n": Kind.INTEGER,
        "x": Kind.NUMBER,
        "y": Kind.MIXED,
        "z": Kind.MIXED,
        "big": Kind.MIXED,
    }


@given(st.text(alphabet='a ,"\r', max_size=12))
def test_rows_are_what_the_standard_library_reads(record: str) -> None:
    """The faster way knows a row as the csv module does, or leaves it to that."""
    found = split_record(record, ",")
    if found is not None and record:
        assert list(csv.reader([record], strict=True)) == [found]


@given(st.binary(max_size=300), st.sampled_from([CSV, TSV, JSONL, PARQUET, Layout(CSV.format, compressed=True)]))
def test_any_bytes_are_a_table_or_an_error_made_on_purpose(data: bytes, layout: Layout) -> None:
    """Nothing else, whatever is uploaded."""
    for prefix in (b"", b"text,b\n", b'{"text":"a"}\n'):
        survey, file = Survey(), io.BytesIO(prefix + data)
        with suppress(DataError):
            assert all(rows >= 0 for rows in survey.steps(file, "reviews", layout, None))


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        ("a/b.CSV", None, CSV),
        ("b.tsv", None, TSV),
        ("b.ndjson.gz", None, Layout(JSONL.format, compressed=True)),
        ("b.pq", None, PARQUET),
        ("b.txt", "csv", CSV),
        ("-", None, CSV),
    ],
)
def test_the_name_tells_the_format(path: str, given: str | None, expected: Layout) -> None:
    """Unless it is given."""
    assert layout_of(path, given, CSV.format if path == "-" else None) == expected


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("reviews.xlsx", {}, "does not tell the format"),
        ("reviews", {}, "does not tell the format"),
        ("a.csv", {"delimiter": ";;"}, "must be one character"),
        ("a.csv", {"encoding": "utf-16"}, "in which ASCII stays ASCII"),
        ("a.csv", {"encoding": "nonsense"}, "must be a known one"),
        ("a.parquet.gz", {}, "does not go into a .gz"),
    ],
)
def test_layouts_that_cannot_be(path: str, options: dict[str, Any], message: str) -> None:
    """Refused with the reason."""
    with pytest.raises(DataError, match=message):
        layout_of(path, **options)
