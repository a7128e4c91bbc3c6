from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import DataError
from app.files.options import OnBadRow, ReadOptions
from app.training.corpus import Review
from app.training.labelled import LabelledRows, class_indices, corpus_examples, file_examples, file_splits, read_rows

ROWS = [(f'text number {number}, with a comma and a "quote"', "abc"[number % 3]) for number in range(60)]


def _csv(path: Path, rows: list[tuple[str, str]] = ROWS, separator: str = ",") -> Path:
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in [("text", "label"), *rows]]
    path.write_text("\n".join(quoted) + "\n", encoding="utf-8")
    return path


def _jsonl(path: Path, rows: list[tuple[str, str]] = ROWS) -> Path:
    path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in rows), encoding="utf-8")
    return path


def _parquet(path: Path, rows: Sequence[tuple[str, object]] = ROWS) -> Path:
    pq.write_table(pa.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]}), path)
    return path


def test_every_kind_of_file_reads_the_same(tmp_path: Path) -> None:
    expected = LabelledRows([text for text, _ in ROWS], [label for _, label in ROWS])
    assert read_rows(_csv(tmp_path / "a.csv"), "text", "label") == expected
    assert read_rows(_csv(tmp_path / "a.tsv", separator="\t"), "text", "label") == expected
    assert read_rows(_jsonl(tmp_path / "a.jsonl"), "text", "label") == expected
    assert read_rows(_parquet(tmp_path / "a.parquet"), "text", "label") == expected


def test_parquet_may_number_its_labels_and_leave_none_out(tmp_path: Path) -> None:
    """Labels of other types are read as text; what is missing is named, with its row."""
    path = _parquet(tmp_path / "a.parquet", [("good film", 1), ("dull film", 0)])
    assert read_rows(path, "text", "label") == LabelledRows(["good film", "dull film"], ["1", "0"])
    with pytest.raises(DataError, match=r"a.parquet: no column 'stars'; there are 'text', 'label'"):
        read_rows(path, "text", "stars")
    with pytest.raises(DataError, match=r"a.parquet: .*'review'"):
        read_rows(path, "review", "label")
    path = _parquet(path, [("good film", 1), ("dull film", None)])
    with pytest.raises(DataError, match=r"a.parquet: row 2: column 'label' has no label"):
        read_rows(path, "text", "label")
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match=r"a.parquet: not a readable Parquet file"):
        read_rows(path, "text", "label")


def test_a_byte_order_mark_and_a_very_long_field_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\n" + b"word " * 100_000 + b",x\n")
    assert len(read_rows(path, None, "label").texts[0]) == 500_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.doc", "", "the name does not tell the format"),
        ("a.csv", "", "the file is empty"),
        ("a.csv", "text,label\n", "no rows"),
        ("a.csv", "review,label\nx,y\n", "no column 'text'; there are 'review', 'label'"),
        ("a.csv", "text,label\nx\n", "line 2: 1 values in a row, but there are 2 columns"),
        ("a.csv", "text,label\nfine, really,1\n", "line 2: 3 values in a row"),
        ("a.csv", 'text,label\n"open,1\nx,1\ny,1\n', "line 2: not as CSV should be"),
        ("a.csv", "text,label\nx,\n", "row 1: column 'label' has no label"),
        ("a.csv", "text,label\nx,1\ny,nan\n", "row 2: column 'label' has no label, but 'nan'"),
        ("a.csv", "text,label,label\nx,1,2\n", "two columns are named 'label'"),
        ("a.jsonl", '{"text": "x", "label": 1}\n[1]', "line 2: not a JSON object"),
        ("a.jsonl", '{"text": "x"}\n{"text": "y", "label": 1}', "row 1: column 'label' has no label"),
        ("a.jsonl", "{", "line 1: not JSON"),
        ("a.csv", b"text,label\n\xc3\xa9,1\ncaf\xe9,1\n", "line 3: byte 4 .* is not utf-8"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=rf"{name[:1]}\..*{message}"):
        read_rows(tmp_path / name, "text", "label")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv"):
        read_rows(tmp_path / "none.csv", "text", "label")


def test_the_validation_split_is_stratified_and_drawn_by_the_seed(tmp_path: Path) -> None:
    path = _csv(tmp_path / "a.csv")
    splits = file_splits(path, "text", "label", seed=1)
    assert splits.labels == ("a", "b", "c")
    assert sorted(splits.validation.labels) == [0, 0, 1, 1, 2, 2]
    assert len(splits.train) == 54
    assert not set(splits.train.texts) & set(splits.validation.texts)
    assert file_splits(path, "text", "label", seed=1) == splits
    assert file_splits(path, "text", "label", seed=2).validation.texts != splits.validation.texts


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("x", "a"), ("y", "a")], "1 different labels"),
        ([("x", str(n)) for n in range(101)], "101 different labels"),
        ([("x", "a"), ("y", "a"), ("z", "b")], "label 'b' has 1 texts"),
        ([("x", "a"), ("y", "a"), ("z", "b"), ("...", "b")], "label 'b' has 1 texts"),
    ],
)
def test_classes_must_be_trainable(tmp_path: Path, rows: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        file_splits(_jsonl(tmp_path / "a.jsonl", rows), "text", "label", seed=1)


@pytest.mark.parametrize(
    ("found", "classes", "expected"),
    [
        (["positive", "negative"], ("negative", "positive"), [1, 0]),
        (["0", "1"], ("negative", "positive"), [0, 1]),
        (["1", "5"], ("1", "2", "3", "4", "5"), [0, 4]),
        (["0", "4"], ("1", "2", "3", "4", "5"), [0, 4]),
        (["4", "0", "5"], ("1", "2", "3", "4", "5"), "'5' is the name of a class and label '0' only an index"),
        (["1", "2"], ("1", "2", "3", "4", "5"), "labels 1, 2 may be names of classes or their indices"),
        (["1", "0"], ("0", "1"), [1, 0]),
        (["positive", "0"], ("negative", "positive"), "'positive' is the name of a class and label '0' only an index"),
        (["neutral"], ("negative", "positive"), "label 'neutral' is none of the model's: negative, positive"),
    ],
)
def test_labels_of_an_evaluation_are_names_or_indices(
    found: list[str], classes: tuple[str, ...], expected: list[int] | str
) -> None:
    """All of a file are the one or all are the other; what may be both is refused unless it means the same."""
    if isinstance(expected, list):
        assert class_indices(Path("a.csv"), found, classes) == expected
    else:
        with pytest.raises(DataError, match=expected):
            class_indices(Path("a.csv"), found, classes)


def test_what_labels_are_can_be_said() -> None:
    """Where they may be both."""
    classes = ("1", "2", "3", "4", "5")
    assert class_indices(Path("a.csv"), ["1", "2"], classes, "names") == [0, 1]
    assert class_indices(Path("a.csv"), ["1", "2"], classes, "indices") == [1, 2]
    with pytest.raises(DataError, match="label '5' is none"):
        class_indices(Path("a.csv"), ["5"], classes, "indices")


def test_an_evaluation_skips_what_has_no_words(tmp_path: Path) -> None:
    """Counted, as are texts that say that there is none."""
    rows = [("x", "positive"), ("y", "negative"), ("...", "positive"), ("NA", "positive")]
    examples = file_examples(_jsonl(tmp_path / "a.jsonl", rows), None, "label", ("negative", "positive"))
    assert (examples.labels, examples.skipped) == ([1, 0], 2)


def test_files_are_read_as_they_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Compressed, with another delimiter or encoding, and with rows left out on demand; how, and how many, is said."""
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress("Review;label\nÀ la carte;1\nfine;0;0\n".encode("cp1252")))
    options = ReadOptions(encoding="cp1252", on_bad_row=OnBadRow.SKIP)
    assert read_rows(path, None, "label", options=options) == LabelledRows(["À la carte"], ["1"])
    said = capsys.readouterr().err
    assert "values between ';', 2 columns named in the first row; the texts are in 'Review'\n" in said
    assert f"are left out: 1; the first is {path}, line 3: 3 values" in said
    with pytest.raises(DataError, match="is not ascii"):
        read_rows(path, None, "label", options=ReadOptions(encoding="ascii"))
    (tmp_path / "b.csv").write_text("text,label\nfine,None\nNA,1\n")
    kept = read_rows(tmp_path / "b.csv", None, "label", options=ReadOptions(keep_na=True))
    assert kept == LabelledRows(["fine", "NA"], ["None", "1"])


def test_stars_are_numbers_where_there_are_any(tmp_path: Path) -> None:
    """Of a column that is named."""
    path = tmp_path / "a.csv"
    path.write_text("text,label,stars\nx,1,5\ny,0,\nz,0,1.5\n")
    assert read_rows(path, None, "label", stars_column="stars").stars == [5, None, 1.5]
    assert read_rows(path, None, "label").stars is None
    path.write_text("text,label,stars\nx,1,many\n")
    with pytest.raises(DataError, match=r"row 1: 'many' is not a number of stars"):
        read_rows(path, None, "label", stars_column="stars")


def test_the_corpus_follows_the_order_of_the_model() -> None:
    reviews = [Review("bad", 0, 1, 0), Review("good", 1, 9, 1)]
    assert corpus_examples(reviews, ("negative", "positive")).labels == [0, 1]
    assert corpus_examples(reviews, ("positive", "negative")).labels == [1, 0]
    with pytest.raises(DataError, match="labelled negative, positive"):
        corpus_examples(reviews, ("a", "b"))
