"""Tables out of files: columns, rows and order as they are, and messages that lead to what is off."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import re
import zipfile
from contextlib import suppress
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRowError, DataError, OptionError
from app.files import spreadsheet
from app.files.compression import compressor
from app.files.layout import Compression, Layout, layout_of
from app.files.lines import LONGEST_ROW, OLD_MARK
from app.files.options import OnBadRow, Quoting, ReadOptions
from app.files.table import MOST_COLUMNS, Kind, texts_of
from tests.files.tables import CSV, JSON, JSONL, LINES, PARQUET, TSV, XLSX, objects_of, table_of, workbook

compress = compressor(Compression.ZSTD)

REVIEWS = b'id,review\n007,"Good, very good"\n8,"Two\nlines and ""quotes"""\n'


@pytest.mark.parametrize(
    ("data", "layout"),
    [
        (REVIEWS, CSV),
        (b"\xef\xbb\xbf" + REVIEWS.replace(b"\n", b"\r\n").replace(b"Two\r\n", b"Two\n"), CSV),
        (b"\n" + REVIEWS + b"\n\n", CSV),
        (REVIEWS.replace(b",", b"\t").replace(b"\t very", b", very"), TSV),
        (REVIEWS.replace(b",", b";").replace(b"; very", b", very"), CSV),
        (REVIEWS.replace(b",", b"\t").replace(b"\t very", b", very"), CSV),
        (b"sep=;\r\n" + REVIEWS.replace(b",", b";").replace(b"; very", b", very"), CSV),
        (gzip.compress(REVIEWS), Layout(CSV.format, Compression.GZIP)),
        (bz2.compress(REVIEWS[:20]) + bz2.compress(REVIEWS[20:]), Layout(CSV.format, Compression.BZIP2)),
        (compress(REVIEWS[:20]) + compress(REVIEWS[20:]), Layout(CSV.format, Compression.ZSTD)),
        (b'[{"id":"007","review":"Good, very good"},\n{"id":"8","review":"Two\\nlines and \\"quotes\\""}]\n', JSON),
        (b'{"id":"007","review":"Good, very good"}\n{"id":"8","review":"Two\\nlines and \\"quotes\\""}\n', JSON),
        (workbook([("id", "review"), ("007", "Good, very good"), (), ("8", 'Two\nlines and "quotes"')]), XLSX),
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
    [row] = objects_of(table_of("review\nÀ la carte\n".encode("cp1252"), encoding="cp1252"))
    assert row == {"review": "À la carte"}


BROKEN = [
    (b"", CSV, "reviews: the file is empty"),
    (b"\n\n", CSV, "reviews: the file is empty"),
    (b"", JSONL, "reviews: the file is empty"),
    (b"   \n", CSV, "reviews: which column has the texts?"),
    (b"id,review\r1,a\r2,b\r", CSV, "reviews: lines end as on an old Mac; save it as UTF-8 (in Excel: CSV UTF-8)"),
    (b"a good film\ra bad one\r", LINES, "reviews: lines end as on an old Mac"),
    (b"id,review\n1,a\r2,b\r", CSV, "reviews, line 2: not as CSV should be (a carriage return that ends no line)"),
    (b"id,truth\n1,2\n", CSV, "reviews: which column has the texts? There are 'id', 'truth'"),
    (b"review,review\na,b\n", CSV, "reviews: two columns are named 'review'"),
    (b"id,review\n1,a\n2,b,c\n", CSV, "reviews, line 3: 3 values in a row, but there are 2 columns"),
    (b'id,review\n1,"a\nb"\n2\n', CSV, "reviews, line 4: 1 values in a row, but there are 2 columns"),
    (b'id,review\n1,a\n2,"b\nc\n', CSV, "reviews, line 3: not as CSV should be (unexpected end of data)"),
    (b'id,review\n1,"a"b\n', CSV, "reviews, line 2: not as CSV should be"),
    (b"id,review\n1,\xc3\xa4\n2,caf\xe9 x\n", CSV, "reviews, line 3: byte 6 (0xe9) is not utf-8"),
    (b"review\n\xe9\n", Layout(CSV.format, Compression.GZIP), "reviews, line 1: cannot be read"),
    (gzip.compress(REVIEWS)[:-12], Layout(CSV.format, Compression.GZIP), "cannot be read"),
    (gzip.compress(REVIEWS), CSV, "this is compressed with gzip"),
    ("review\na".encode("utf-16"), CSV, "this is UTF-16"),
    (b"PK\x03\x04rest", CSV, "this is a spreadsheet (.xlsx)"),
    (b"PAR1rest", CSV, "this is Parquet"),
    (b'{"review":"a"}\n{"review":\n', JSONL, "reviews, line 2: not JSON ("),
    (b'{"review":"a"}\n{"review":"b","x":%b1%b}\n' % (b"[" * 300, b"]" * 300), JSONL, "reviews, line 2: not JSON ("),
    (b'{\n "reviews": [\n  {"review":"a"}]}', JSON, "column 1); an object must end in its line, or be one of an array"),
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


def test_a_column_of_parquet_without_any_value() -> None:
    """Has a type of its own, and may be one of texts."""
    file = io.BytesIO()
    pq.write_table(pa.table({"text": [None, None]}), file)
    assert [window.texts for window in table_of(file.getvalue(), PARQUET).windows()] == [[None, None]]


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
        "z": Kind.NESTED,
        "big": Kind.MIXED,
    }


ALL = [CSV, TSV, JSONL, JSON, LINES, XLSX, PARQUET, *(Layout(CSV.format, it) for it in Compression if it)]


@given(st.binary(max_size=300), st.sampled_from(ALL))
def test_any_bytes_are_a_table_or_an_error_made_on_purpose(data: bytes, layout: Layout) -> None:
    """Nothing else, whatever is uploaded."""
    for prefix in (b"", b"text,b\n", b'{"text":"a"}\n'):
        for on_bad_row in OnBadRow:
            with suppress(DataError):
                table_of(prefix + data, layout, on_bad_row=on_bad_row)


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        ("a/b.CSV", None, CSV),
        ("b.tsv", None, TSV),
        ("b.ndjson.gz", None, Layout(JSONL.format, Compression.GZIP)),
        ("b.pq", None, PARQUET),
        ("b.json.zst", None, Layout(JSON.format, Compression.ZSTD)),
        ("b.txt.bz2", None, Layout(LINES.format, Compression.BZIP2)),
        ("b.txt", "csv", CSV),
        ("-", None, CSV),
    ],
)
def test_the_name_tells_the_format(path: str, given: str | None, expected: Layout) -> None:
    """Unless it is given."""
    assert layout_of(path, given, CSV.format if path == "-" else None) == expected


@pytest.mark.parametrize("path", ["reviews.doc", "reviews", "reviews.gz"])
def test_names_that_tell_nothing(path: str) -> None:
    """The message lists those that do."""
    with pytest.raises(DataError, match=r"does not tell the format \(\.csv, .*\.xlsx") as caught:
        layout_of(path)
    assert caught.value.options == ("format",)


@pytest.mark.parametrize("suffix", [".xls", ".ods"])
def test_spreadsheets_that_are_not_read_are_named(suffix: str) -> None:
    """With what to save them as; no option is named, since none would help."""
    with pytest.raises(DataError, match=rf"not as \{suffix}; save it as \.xlsx or CSV") as caught:
        layout_of(f"reviews{suffix}")
    assert caught.value.options == ()


def test_formats_that_are_compressed_inside() -> None:
    """Are not read from front to back."""
    with pytest.raises(DataError, match=r"does not go into a \.gz"):
        layout_of("a.parquet.gz")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"delimiter": ";;"}, "must be one character"),
        ({"delimiter": "\0"}, "must be one character"),
        ({"encoding": "utf-16"}, "in which ASCII stays ASCII"),
        *(({"encoding": name}, "must be a known one") for name in ("nonsense", "undefined", "base64", "idna", "a\0")),
    ],
)
def test_options_that_cannot_be(given: dict[str, Any], message: str) -> None:
    """Refused with the name of the option and the reason."""
    with pytest.raises(OptionError, match=message) as caught:
        ReadOptions(**given)
    assert caught.value.option == next(iter(given))


def test_a_tab_as_people_type_it() -> None:
    """A shell makes no tab of a backslash and a t."""
    assert ReadOptions(delimiter="\\t").delimiter == "\t"


@pytest.mark.parametrize("name", ["utf8", "UTF-8", "utf_8", "U8", "utf-8-sig"])
def test_a_byte_order_mark_under_every_name_of_its_encoding(name: str) -> None:
    """It is no part of the first column's name."""
    assert table_of(b"\xef\xbb\xbfreview\na\n", encoding=name).text_column == "review"


@pytest.mark.parametrize(
    ("data", "layout", "message"),
    [
        (b"<!DOCTYPE html>\n<html><body>hi</body></html>\n", CSV, "web page"),
        (b"  <html>\n", TSV, "web page"),
        (b"<?xml version='1.0'?>\n<a/>\n", LINES, "web page"),
        (b'{"text":"a"}\n', CSV, "this is JSON"),
        (b'[ {"text":"a"} ]\n', CSV, "this is JSON"),
        *(("text\na".encode(f"utf-{code}"), CSV, f"UTF-{code[:2]}; save it as UTF-8") for code in ("16", "32")),
        *(("text\na".encode(f"utf-16-{end}"), CSV, "UTF-16; save it as UTF-8") for end in ("le", "be")),
        *(('{"text": "a"}'.encode(f"utf-16-{end}"), JSONL, "UTF-16; save it as UTF-8") for end in ("le", "be")),
        (b"%PDF-1.7", LINES, "a PDF"),
        (OLD_MARK + b"rest", CSV, "an old spreadsheet .* save it as .xlsx or CSV"),
        (OLD_MARK + b"rest", XLSX, "an old spreadsheet .* save it as .xlsx or CSV"),
        (compress(REVIEWS), CSV, "Zstandard"),
        (b"What a wonderful film, with a very good end.\nI hated it.\n", TSV, "looks like a text"),
        (b"Great!\nAwful!\n", CSV, "looks like a text"),
    ],
)
def test_what_is_no_table_is_refused(data: bytes, layout: Layout, message: str) -> None:
    """Instead of being scored line by line, with the first review lost as a header."""
    with pytest.raises(DataError, match=message) as caught:
        table_of(data, layout)
    # An option that would not help is not named.
    assert bool(caught.value.options) != ("save" in str(caught.value))


def test_a_survey_question_may_be_a_header() -> None:
    """Where it is named."""
    question = "What did you think of the film, all in all?"
    table = table_of(f'"{question}"\nGood\n'.encode(), CSV, question)
    assert objects_of(table) == [{question: "Good"}]


def test_a_file_without_a_header() -> None:
    """Every row counts; columns are numbered."""
    table = table_of(b"1,Great film\n2,Bad film\n", CSV, "column_2", no_header=True)
    assert (table.rows, table.text_column) == (2, "column_2")
    assert objects_of(table) == [{"column_1": "1", "column_2": "Great film"}, {"column_1": "2", "column_2": "Bad film"}]
    assert objects_of(table_of(workbook([("Great film",)]), XLSX, no_header=True)) == [{"column_1": "Great film"}]


def test_lines_of_text() -> None:
    """Commas and quotation marks are characters, and there is a row for each line."""
    table = table_of(b'Good, "very" good\r\n\nBad', LINES)
    assert [row["text"] for row in objects_of(table)] == ['Good, "very" good', "", "Bad"]
    assert "lines of text" in table.found


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("id,Review", "Review"),
        ("id,reviewText,summary", "reviewText"),
        ("id,Review Text", "Review Text"),
        ("comments,id", "comments"),
        ("body,text,id", "text"),
        ("anything", "anything"),
    ],
)
def test_columns_that_texts_are_usually_in(header: str, expected: str) -> None:
    """However they are written; the likelier name first."""
    assert table_of(f"{header}\n{','.join('x' for _ in header.split(','))}\n".encode()).text_column == expected


def test_a_delimiter_is_what_makes_rows_alike() -> None:
    """Commas in the texts do not make a file with semicolons one with commas, nor the other way round; a delimiter that
    is named is not looked for."""
    assert table_of(b"id;review\n1;Good, very good\n2;Bad\n").text_column == "review"
    assert list(table_of(b"review\nGood; nice\nBad; ugly; long\n").columns) == ["review"]
    assert list(table_of(b"a;review\n1;2\n", text_column="a;review", delimiter=",").columns) == ["a;review"]
    found = table_of(b"id|review\n" + b"1|Good, nice\n" * 20_000).found
    assert found == "CSV, values between '|', 2 columns named in the first row"


BAD_ROWS = (
    b'id,review\n1,good\n2,a,b\n3,"open\n4,"a"b\n5,caf\xe9\n6,fine\n7,"never closed\n8,last\n',
    b'{"id":1,"review":"good"}\n{"id":\n[3]\n{"id":4,"review":"caf\xe9"}\n{"id":6,"review":"fine"}\n',
    b'[{"id":1,"review":"good"},[2],{"id":6,"review":"fine","x":NaN},{"review":"last"}]',
)


@pytest.mark.parametrize(
    ("data", "layout", "kept", "bad"),
    [
        (BAD_ROWS[0], CSV, ["good", "fine", "last"], 5),
        (BAD_ROWS[1], JSONL, ["good", "fine"], 3),
        (BAD_ROWS[2], JSON, ["good", "last"], 2),
        ("göod\n".encode() + b"caf\xe9\nfine", LINES, ["göod", "fine"], 1),
        (workbook([("id", "review"), (1, "good"), (2, "bad", "more")]), XLSX, ["good"], 1),
    ],
    ids=["csv", "jsonl", "json", "lines", "xlsx"],
)
def test_bad_rows_are_left_out_or_marked(data: bytes, layout: Layout, kept: list[str], bad: int) -> None:
    """On demand, and counted; an open quotation mark costs its own line and no other. Marked rows keep what stood
    there in the text column, and have an error of their own."""
    with pytest.raises(DataError) as caught:
        table_of(data, layout)
    assert "on_bad_row" in caught.value.options
    for on_bad_row in (OnBadRow.SKIP, OnBadRow.MARK):
        table = table_of(data, layout, on_bad_row=on_bad_row)
        windows = list(table.windows(rows=2))
        texts = [text for window in windows for text in window.texts]
        rows = [row for window in windows for row in window.objects()]
        assert len(texts) == len(rows) == table.rows == len(kept) + bad * (on_bad_row is OnBadRow.MARK)
        assert [text for text in texts if isinstance(text, str)] == kept
        assert sum(isinstance(text, BadRowError) for text in texts) == bad * (on_bad_row is OnBadRow.MARK)
        assert all(row[table.text_column] for row in rows)
        assert table.bad.count == bad
        assert table.bad.first == str(caught.value)


def test_quotation_marks_may_be_characters() -> None:
    """As in files that never quote, where one would open a value that has no end."""
    data = b'id\treview\n1\t"Good" film\n2\t5" screen\n3\t"open\n'
    table = table_of(data, TSV, quoting=Quoting.NONE)
    assert [row["review"] for row in objects_of(table)] == ['"Good" film', '5" screen', '"open']


def test_a_field_of_a_field() -> None:
    """By its path; a field that has the whole name comes first. Paths that lead nowhere are refused."""
    data = b'{"id":1,"review":{"text":"good"}}\n{"review":null}\n{"review":{"text":"fine"}}\n'
    table = table_of(data, JSONL, "review.text")
    assert [window.texts for window in table.windows()] == [["good", None, "fine"]]
    assert table_of(b'{"review.text":"a","review":{"text":"b"}}', JSONL, "review.text").text_column == "review.text"
    with pytest.raises(DataError, match=r"no row has a text at 'review\.txt'"):
        table_of(data, JSONL, "review.txt")
    with pytest.raises(DataError, match=r"no column 'body\.text'; there are 'id', 'review'"):
        table_of(data, JSONL, "body.text")
    file = io.BytesIO()
    pq.write_table(pa.table({"review": [{"text": "good"}, None]}), file)
    [window] = table_of(file.getvalue(), PARQUET, "review.text").windows()
    assert window.texts == ["good", None]
    with pytest.raises(DataError, match=r"no field 'review\.txt'"):
        table_of(file.getvalue(), PARQUET, "review.txt")


@pytest.mark.parametrize("value", ["[]", "5", '{"what":"a"}', "true"])
def test_a_column_without_a_text(value: str) -> None:
    """Is not one of texts, even where it is the only one."""
    with pytest.raises(DataError, match=r"column 'reviews' has \w+ values, not text"):
        table_of(f'{{"reviews":{value}}}\n'.encode(), JSONL)


@pytest.mark.parametrize("cell", ["", " ", "NA", "NaN", "None", "null", "N/A", "-", "nan"])
def test_cells_that_say_nothing(cell: str) -> None:
    """Have no text, unless they are to be taken as they are."""
    [window] = table_of(f'id,review\n1,"{cell}"\n'.encode()).windows()
    assert texts_of(window, keep_na=False) == [None]
    assert texts_of(window, keep_na=True) == [cell]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[", "row 1: not JSON, or cut short"),
        (b'[{"text":"a"}', "row 1: no comma and no end"),
        (b'[{"text":"a"},]', "row 2: "),
        (b'[{"text":"a"},{"text":', "row 2: not JSON, or cut short"),
        (b'[{"text":"a"}] 1', "row 1: something stands behind"),
        (b'[{"text":"a\xff"}]', "not utf-8"),
        (b'{"reviews":[\n{"text":"a"}]}', "line 1: not JSON"),
        (b"[]", "the file is empty"),
    ],
)
def test_arrays_that_are_none(data: bytes, message: str) -> None:
    """Are refused with the row in which they end."""
    with pytest.raises(DataError, match=message):
        table_of(data, JSON)


def test_a_large_array_is_read_in_pieces() -> None:
    """Values that lie across pieces are whole, and long numbers keep their digits."""
    rows = [{"text": "x" * size, "n": 2**70 + size} for size in (1, 70_000, 200_000, 3, 65_500)] * 3
    table = table_of(json.dumps(rows, indent=1).encode(), JSON)
    assert [(len(row["text"]), orjson.dumps(row["n"])) for row in objects_of(table)] == [
        (len(str(row["text"])), str(row["n"]).encode()) for row in rows
    ]


def test_a_workbook_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what it says it is when unpacked; and others than the first sheet are named as such."""
    data = workbook([("text",), ("good",)], more_sheets=1)
    assert table_of(data, XLSX).found == "XLSX, sheet 'Sheet' of 2"
    with pytest.raises(DataError, match="the first sheet is empty; of several sheets, the one with the texts must be"):
        table_of(workbook([("A cover",)], more_sheets=1), XLSX)
    monkeypatch.setattr("app.files.spreadsheet._LARGEST", 1000)
    with pytest.raises(DataError, match="too large a workbook"):
        table_of(data, XLSX)


def replaced(data: bytes, pattern: bytes, by: bytes) -> bytes:
    """A workbook in which something stands as other programs, or nobody, would write it."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            new.writestr(name, re.sub(pattern, by, old.read(name)))
    return file.getvalue()


def with_values(data: bytes, value: bytes) -> bytes:
    """A workbook whose formulas have this value stored."""
    return replaced(data, rb"</f><v\s*/?>(</v>)?", b"</f>" + value)


@pytest.mark.parametrize("said", [b"", b'<dimension ref="A1" />', b'<dimension ref="A1:B999999999999" />'])
def test_what_a_sheet_says_of_its_size_does_not_count(said: bytes) -> None:
    """Some programs write that it is one cell, and the rows are there all the same."""
    data = replaced(workbook([("id", "review"), (1, "Good"), (2, "Bad")]), rb"<dimension[^>]*>", said)
    assert [row["review"] for row in objects_of(table_of(data, XLSX))] == ["Good", "Bad"]


@pytest.mark.parametrize("said", [b"", b'<dimension ref="A1:B999999999999" />'])
def test_a_row_that_no_sheet_can_have_is_refused(said: bytes) -> None:
    """Instead of billions of empty ones being read before it."""
    data = replaced(workbook([("review",), ("Good",), ("Bad",)]), rb"<dimension[^>]*>", said)
    with pytest.raises(DataError, match="a row with a number above 1,048,576"):
        table_of(replaced(data, rb'<row r="3"', b'<row r="999999999999"'), XLSX)


@pytest.mark.parametrize("scanned", [1, 100, 1 << 20])
def test_formulas_that_nobody_computed_are_told(monkeypatch: pytest.MonkeyPatch, scanned: int) -> None:
    """Their cells are empty; how many they are is said, and what helps. Those with a value are like other cells."""
    monkeypatch.setattr(spreadsheet, "_SCANNED", scanned)
    data = workbook([("review", "a"), ("Good", "=1+1"), ("Bad", "=LEN(A3)"), ("So so", 2)])
    table = table_of(data, XLSX)
    assert "formulas without a value, read as empty cells: 2 (to have them computed, open and save it" in table.found
    assert [row["a"] for row in objects_of(table)] == [None, None, 2]
    assert "empty cells: 2" in table_of(with_values(data, b""), XLSX).found
    computed = table_of(with_values(data, b"<v>7</v>"), XLSX)
    assert "formula" not in computed.found
    assert [row["a"] for row in objects_of(computed)] == [7, 7, 2]
