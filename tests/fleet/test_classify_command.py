"""Many files on a Ray cluster of two real nodes, of which one dies in the middle."""

from __future__ import annotations

import argparse
import csv
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.classify import files_of
from app.files.partial import PartialFile
from app.fleet import classify_command
from app.store import ModelStore
from benchmarks.ray_cluster import ROOT, RayCluster, environment
from tests.pictures import MODEL, STORE

pytestmark = pytest.mark.extra

FILES, ROWS = 8, 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of reviews in ``in``."""
    chance = random.Random(7)
    words = "good bad plot film dull lovely story awful great never again the a it was and loved boring".split()
    (tmp_path / "in").mkdir()
    for number in range(FILES):
        with (tmp_path / "in" / f"{number}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("id", "review"))
            rows.writerows((number * ROWS + row, " ".join(chance.choices(words, k=9))) for row in range(ROWS))
    return tmp_path


@contextmanager
def classify(folder: Path, command: str, out: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A command at work on all files."""
    arguments = [command, str(folder / "in" / "*.csv"), "--out", f"{folder / out}/", "--model", MODEL, *options]
    with subprocess.Popen(
        [sys.executable, "-m", "app", *arguments, "--store", str(STORE)],
        cwd=ROOT,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said_by(process: subprocess.Popen[str]) -> str:
    """What it says until it ends well."""
    said = process.communicate(timeout=600)[1]
    assert process.returncode == 0, said
    return said


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_results_are_those_of_classify(cluster: RayCluster, folder: Path) -> None:
    """To the byte, though a node is killed while files are scored; a second run leaves them as they are."""
    with classify(folder, "classify", "local") as process:
        said_by(process)
    expected = files_in(folder / "local")
    assert len(expected) == FILES
    with classify(folder, "ray-classify", "out", "--address", cluster.address) as process:
        assert process.stderr is not None
        first = next(line for line in process.stderr if "written to" in line)
        assert first.startswith(f"1 of {FILES}: ")
        cluster.kill_second()
        try:
            said_by(process)
        finally:
            cluster.add_second()
    assert files_in(folder / "out") == expected
    with classify(folder, "ray-classify", "out", "--address", cluster.address) as process:
        assert said_by(process).count("is there already") == FILES
    assert files_in(folder / "out") == expected


def test_a_file_that_cannot_be_read_stops_no_other(cluster: RayCluster, folder: Path) -> None:
    """It is named with what is wrong; mended, the same command scores it alone."""
    broken = folder / "in" / "3.csv"
    good = broken.read_text()
    broken.write_text(good + "1,two,three\n")
    with classify(folder, "ray-classify", "out", "--address", cluster.address) as process:
        said = process.communicate(timeout=600)[1]
    assert process.returncode == 1
    assert f"{broken}" in said
    assert f"error: 1 of {FILES} files have no results" in said
    assert len(files_in(folder / "out")) == FILES - 1
    broken.write_text(good)
    with classify(folder, "ray-classify", "out", "--address", cluster.address) as process:
        assert "1 of 1: written to" in said_by(process)
    assert len(files_in(folder / "out")) == FILES


def test_a_file_whose_last_writer_is_not_gone_yet(tiny_store: Path, tmp_path: Path) -> None:
    """As on a node that was taken for dead: the file is waited for, and there is one result, with nothing beside it."""
    parser = argparse.ArgumentParser()
    classify_command.add_arguments(parser)
    source, out = tmp_path / "reviews.csv", tmp_path / "out"
    source.write_text("review\na good film\n")
    out.mkdir()
    args = parser.parse_args([str(source), "--out", f"{out}/", "--model", "tiny", "--store", str(tiny_store)])
    args.report = None
    scorer = classify_command.FileScorer(args, files_of(args, args.inputs), ModelStore(tiny_store).open("tiny").digest)
    other = PartialFile(out / "reviews.csv", None, overwrite=False)
    leaving = threading.Timer(1, other.__exit__)
    leaving.start()
    assert scorer({"number": 0}) == {"number": 0, "error": ""}
    leaving.join()
    [(name, content)] = files_in(out).items()
    assert name == "reviews.csv"
    assert content.startswith(b"review,label,")
