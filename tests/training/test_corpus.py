from __future__ import annotations

import random
import tarfile
from pathlib import Path

import pytest

from app.errors import DataError
from app.training.corpus import ARCHIVE_URL, download, load_corpus
from tests.training.synthetic import write_corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_corpus(tmp_path)


def _pack(folder: Path, target: Path, mode: str) -> Path:
    """The corpus as an archive, its members in random order."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    random.Random(3).shuffle(files)
    with tarfile.open(target, mode) as archive:  # type: ignore[call-overload]
        for path in files:
            archive.add(path, path.relative_to(folder.parent))
    return target


def test_reads_splits_labels_and_stars(folder: Path) -> None:
    corpus = load_corpus(folder)
    assert [len(part) for part in (corpus.train, corpus.validation, corpus.test, corpus.unsup)] == [72, 8, 40, 10]
    assert [review.label for review in corpus.validation] == [0] * 4 + [1] * 4
    assert all((review.stars or 0) >= 7 for review in corpus.test if review.label == 1)
    assert {(review.label, review.stars) for review in corpus.unsup} == {(None, None)}


def test_validation_is_the_tenth_with_the_highest_numbers(folder: Path) -> None:
    corpus = load_corpus(folder)
    assert [review.number for review in corpus.validation] == [36, 37, 38, 39] * 2
    assert [review.number for review in corpus.train] == list(range(36)) * 2


@pytest.mark.parametrize(("name", "mode"), [("c.tar.gz", "w:gz"), ("c.tar.xz", "w:xz"), ("c.tar", "w")])
def test_an_archive_in_any_order_reads_like_the_folder(folder: Path, tmp_path: Path, name: str, mode: str) -> None:
    assert load_corpus(_pack(folder, tmp_path / name, mode)) == load_corpus(folder)


@pytest.mark.parametrize("name", ["c.tar.gz", "c.tar.xz"])
def test_a_bad_archive_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    path = _pack(folder, tmp_path / name, f"w:{name[-2:]}")
    content = path.read_bytes()
    for damaged in (b"", b"no archive", content[: len(content) // 2], content[:200] + b"\0" * 50 + content[250:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=name):
            load_corpus(path)


def test_a_missing_part_is_named(folder: Path) -> None:
    for path in (folder / "test" / "pos").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="test/pos"):
        load_corpus(folder)


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: does not exist"):
        load_corpus(tmp_path / "nowhere")


def test_a_review_twice_is_refused(folder: Path) -> None:
    (folder / "train" / "neg" / "3_10.txt").write_text("again")
    with pytest.raises(DataError, match="review 3 of train/neg twice"):
        load_corpus(folder)


def test_a_review_that_is_no_utf8_is_named(folder: Path) -> None:
    (folder / "train" / "neg" / "99_1.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"99_1\.txt is not UTF-8"):
        load_corpus(folder)


def test_a_download_of_wrong_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").write_bytes(b"something else")
    monkeypatch.setattr("app.training.corpus.ARCHIVE_URL", (tmp_path / "other").as_uri())
    with pytest.raises(DataError, match="checksum"):
        download(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    monkeypatch.setattr("app.training.corpus.ARCHIVE_URL", (tmp_path / "none").as_uri())
    with pytest.raises(DataError, match="download failed"):
        download(tmp_path / "cache")


def test_a_downloaded_archive_is_kept(tmp_path: Path) -> None:
    archive = tmp_path / ARCHIVE_URL.rpartition("/")[2]
    archive.write_bytes(b"there")
    assert download(tmp_path) == archive
