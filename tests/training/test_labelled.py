from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import DataError
from app.training.corpus import Review
from app.training.labelled import corpus_examples, file_examples, file_splits, read_rows

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
    expected = ([text for text, _ in ROWS], [label for _, label in ROWS])
    assert read_rows(_csv(tmp_path / "a.csv"), "text", "label") == expected
    assert read_rows(_csv(tmp_path / "a.tsv", separator="\t"), "text", "label") == expected
    assert read_rows(_jsonl(tmp_path / "a.jsonl"), "text", "label") == expected
    assert read_rows(_parquet(tmp_path / "a.parquet"), "text", "label") == expected


def test_parquet_may_number_its_labels_and_leave_none_out(tmp_path: Path) -> None:
    """Labels of other types are read as text; what is missing is named, with its row."""
    path = _parquet(tmp_path / "a.parquet", [("good film", 1), ("dull film", 0)])
    assert read_rows(path, "text", "label") == (["good film", "dull film"], ["1", "0"])
    with pytest.raises(DataError, match=r"a.parquet: line 1: no column 'stars'; there are: text, label"):
        read_rows(path, "text", "stars")
    with pytest.raises(DataError, match=r"a.parquet: .*'review'"):
        read_rows(path, "review", "label")
    path = _parquet(path, [("good film", 1), ("dull film", None)])
    with pytest.raises(DataError, match=r"a.parquet: line 2: column 'label' has no value"):
        read_rows(path, "text", "label")
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match=r"a.parquet: not a readable Parquet file"):
        read_rows(path, "text", "label")


def test_a_byte_order_mark_and_a_very_long_field_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\n" + b"word " * 100_000 + b",x\n")
    texts, _ = read_rows(path, "text", "label")
    assert len(texts[0]) == 500_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xls", "", r"must end in \.csv"),
        ("a.csv", "", "no rows"),
        ("a.csv", "text,label\n", "no rows"),
        ("a.csv", "review,label\nx,y\n", r"line 2: no column 'text'; there are: review, label"),
        ("a.csv", "text,label\nx\n", r"line 2: column 'label' has no value"),
        ("a.jsonl", '{"text": "x", "label": 1}\n[1]', "line 2: must be a JSON object"),
        ("a.jsonl", "{", "not readable as jsonl"),
        ("a.csv", b"text,label\ncaf\xe9,1\n", "not readable as csv in UTF-8"),
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


def test_labels_of_an_evaluation_are_names_or_indices(tmp_path: Path) -> None:
    rows = [("x", "positive"), ("y", "0"), ("!", "1"), ("...", "1")]
    examples = file_examples(_jsonl(tmp_path / "a.jsonl", rows), "text", "label", ("negative", "positive"))
    assert examples.labels == [1, 0, 1]
    assert examples.skipped == 1
    with pytest.raises(DataError, match="label 'neutral' is none of the model's: negative, positive"):
        file_examples(_jsonl(tmp_path / "b.jsonl", [("x", "neutral")]), "text", "label", ("negative", "positive"))


def test_the_corpus_follows_the_order_of_the_model() -> None:
    reviews = [Review("bad", 0, 1, 0), Review("good", 1, 9, 1)]
    assert corpus_examples(reviews, ("negative", "positive")).labels == [0, 1]
    assert corpus_examples(reviews, ("positive", "negative")).labels == [1, 0]
    with pytest.raises(DataError, match="labelled negative, positive"):
        corpus_examples(reviews, ("a", "b"))
