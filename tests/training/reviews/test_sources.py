"""Sources with weights: what a file must have, and what is said where it has not."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from app.errors import DataError
from app.training.reviews.sources import parse_sources, read_source


def write(path: Path, *rows: str) -> Path:
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write("text\tlabel\tstars\n" + "".join(f"{row}\n" for row in rows))
    return path


def test_texts_labels_and_stars_are_read(tmp_path: Path) -> None:
    """Five stars become ten, a missing rating stays one, quotation marks are characters."""
    path = write(tmp_path / "shops.tsv.xz", 'A "good" one\tpositive\t5', "so so\tneutral\t3", "no\tnegative\t")
    source = read_source(path, 2.0)
    assert (source.name, source.weight) == ("shops", 2.0)
    assert source.examples.texts == ['A "good" one', "so so", "no"]
    assert source.examples.labels == [2, 1, 0]
    assert source.examples.stars == [10.0, 5.5, None]


@pytest.mark.parametrize(
    ("row", "message"), [("good\thappy\t5", "row 1: label 'happy' is none of"), ("good\tpositive\t6", "6 stars")]
)
def test_other_labels_and_stars_are_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_source(write(tmp_path / "shops.tsv.xz", row))


def test_names_are_as_different_as_those_of_the_files(tmp_path: Path) -> None:
    """Figures are kept by them; only what tells the format is left out."""
    names = [read_source(write(tmp_path / f"shops.{part}.tsv.xz", "good\tpositive\t5")).name for part in ("de", "fr")]
    assert names == ["shops.de", "shops.fr"]


def test_no_option_is_named_that_there_is_not(tmp_path: Path) -> None:
    """The form of these files is fixed."""
    with pytest.raises(DataError, match="values in a row") as raised:
        read_source(write(tmp_path / "shops.tsv.xz", "good"))
    assert not raised.value.options


def test_a_weight_may_follow_the_name() -> None:
    """Without one a file counts once; a colon in a name is no weight."""
    parsed = parse_sources(["a.tsv", "b.tsv:2.5", "c:d.tsv"])
    assert parsed == [(Path("a.tsv"), 1.0), (Path("b.tsv"), 2.5), (Path("c:d.tsv"), 1.0)]
    with pytest.raises(DataError, match="must be above 0"):
        parse_sources(["a.tsv:0"])
