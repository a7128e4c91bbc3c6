"""Ten files as people have them: what they are is found without an option in nine, and the tenth is told what to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.errors import DataError
from app.files.arguments import explained
from app.files.layout import layout_of
from tests.files import shapes
from tests.files.tables import table_of

FOUND: list[tuple[Callable[[], bytes], str, str, str, int]] = [
    (shapes.excel_semicolons, "a.csv", "Comment", "CSV, values between ';', 3 columns named in the first row", 4),
    (
        shapes.app_store_latin1,
        "a.csv",
        "Review",
        "CSV, values between commas, 4 columns named in the first row, Windows-1252 (a guess: it is not UTF-8)",
        4,
    ),
    (shapes.shop_json_lines, "a.jsonl", "reviewText", "JSON, an object a line", 4),
    (shapes.play_store, "a.csv", "Review Text", "CSV, values between commas, 10 columns named in the first row", 4),
    (shapes.nested_array, "a.json", "review.text", "JSON, an array of objects", 4),
    (
        shapes.survey_with_title,
        "a.csv",
        "Comments",
        "CSV, values between commas, 3 columns named in line 4, below a title",
        4,
    ),
    (shapes.tabs_and_quotes, "a.tsv", "review", "TSV, values between tabs, 2 columns named in the first row", 4),
    (shapes.text_per_line, "a.txt", "text", "lines of text", 4),
    (shapes.two_sheets, "a.xlsx", "Feedback", "XLSX, sheet 'Reviews' of 2", 4),
]


@pytest.mark.parametrize(("made", "name", "column", "found", "rows"), FOUND, ids=lambda it: getattr(it, "__name__", ""))
def test_the_layout_is_found(made: Callable[[], bytes], name: str, column: str, found: str, rows: int) -> None:
    """Format, header, encoding and the column of texts, which are whole."""
    table = table_of(made(), layout_of(name))
    assert (table.text_column, table.found, table.rows) == (column, found, rows)
    texts = [str(text) for window in table.windows() for text in window.texts]
    assert len(texts) == rows
    assert texts[0].startswith("The room was spotless and the staff could not have been kinder.")
    assert "\ufffd" not in "".join(texts)
    if made is shapes.app_store_latin1:
        assert "“super”" in texts[0]


def test_two_columns_of_texts_need_a_word() -> None:
    """The message lists the columns, and the option that chooses one; with it the file is read."""
    with pytest.raises(DataError) as caught:
        table_of(shapes.hotel_two_columns())
    said = explained(caught.value)
    assert "which column has the texts? There are 'Hotel_Name', 'Score', 'Date', 'Positive_Review', 'Neg" in said
    assert "(see --text-column, --no-header)" in said
    assert table_of(shapes.hotel_two_columns(), text_column="Negative_Review").rows == 3


def test_what_is_no_title() -> None:
    """A header is looked for below rows that hold nothing else, and only so far."""
    for content in ("Title,\nid,1\n1,review\n", "Title,\n" * 11 + "id,review\n1,good\n"):
        with pytest.raises(DataError, match="which column has the texts"):
            table_of(content.encode())
    found = table_of(b"Title,\n,\nid,what\n1,good\n", text_column="what")
    assert (found.text_column, found.rows) == ("what", 1)
    assert table_of(b"review,\ngood,\n").rows == 1


def test_what_is_no_other_encoding() -> None:
    """A file of UTF-8 with a damaged row stays one, however early that is; so does one whose bad rows are taken."""
    for damaged in (b"review\ncaf\xe9\n\xc3\xa4\n", b"review\n\x81\n", b"review\ncaf\xe9 \x00\n"):
        with pytest.raises(DataError, match="is not utf-8; another encoding must be named"):
            table_of(damaged)
    assert table_of(b"review\ncaf\xe9\nok\n", on_bad_row="skip").rows == 1
    cut = b"review\n" + b"a" * (65_536 - 8) + "é\n".encode()
    assert "guess" not in table_of(cut).found
