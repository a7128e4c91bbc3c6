"""``python -m app feedback``, and that training reads what it lists."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app import cli
from app.feedback.folder import FeedbackEntry, FeedbackFolder
from app.training.labelled import file_examples, file_splits
from app.training.reviews.sources import read_source

DAY = timedelta(days=1)
GIVEN = [
    ("great fun", "positive", "positive", 1, 10 * DAY, None),
    ("awful, just awful", "negative", "positive", 1, 5 * DAY, "no doubt"),
    ("awful, just awful", "negative", "negative", 2, DAY, None),
    ("=1+1 film", "negative", None, 2, DAY, "- not sure"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeedbackFolder:
    """Four texts to two versions, in the folder that the environment names."""
    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setenv("SENTIMENT_FEEDBACK_FOLDER", str(kept))
    folder = FeedbackFolder(kept, 100_000)
    for text, label, answered, version, age, comment in GIVEN:
        time = datetime.now(UTC) - age
        folder.append(
            FeedbackEntry(
                time=time, text=text, label=label, answered=answered, model="tiny", version=version, comment=comment
            )
        )
    return folder


def texts(folder: FeedbackFolder) -> list[str]:
    return [entry.text for entry in folder.entries()]


def test_what_is_kept_is_counted_by_version(folder: FeedbackFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """With how often each was right, of those of which that is known."""
    assert cli.main(["feedback", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tiny/1: 2 texts (negative 1, positive 1), 1 of 2 answers right (0.500), 20")
    assert lines[1].startswith("tiny/2: 2 texts (negative 2), 1 of 1 answers right (1.000), 20")
    assert lines[2] == f"{folder.path / 'tiny.jsonl'}: {folder.size()} bytes"
    assert cli.main(["feedback", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(row["version"], row["right"], row["wrong"]) for row in document["versions"]] == [(1, 1, 1), (2, 1, 0)]
    assert document["bytes"] == folder.size()


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["feedback", "list", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: no feedback\n"


def test_it_is_exported(folder: FeedbackFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As CSV that a spreadsheet reads, on request without what one would compute; never over a file that is there."""
    out = tmp_path / "all.csv"
    assert cli.main(["feedback", "export", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 4 texts\n"
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert [row["text"] for row in rows] == [text for text, *_ in GIVEN]
    assert rows[1] == {**rows[1], "label": "negative", "answered": "positive", "version": "1", "comment": "no doubt"}
    assert cli.main(["feedback", "export", "--out", str(out)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert cli.main(["feedback", "export", "--out", "-", "--escape-formulas"]) == 0
    last = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))[-1]
    assert (last["text"], last["comment"]) == ("'=1+1 film", "'- not sure")


def test_it_is_deleted_by_text(
    folder: FeedbackFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is, and no other text; from standard input it is in no list of commands."""
    assert cli.main(["feedback", "delete", "--text", "awful"]) == 0
    assert cli.main(["feedback", "delete", "--text", " awful, just awful\n"]) == 0
    assert texts(folder) == ["great fun", "=1+1 film"]
    monkeypatch.setattr("sys.stdin", io.StringIO("great fun\n"))
    assert cli.main(["feedback", "delete", "--text", "-"]) == 0
    assert texts(folder) == ["=1+1 film"]
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()] == [
        "0 texts deleted",
        "2 texts deleted",
        "1 texts deleted",
    ]


def test_it_is_deleted_by_age(folder: FeedbackFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """In days; or all of it."""
    assert cli.main(["feedback", "delete", "--older-than", "4.5"]) == 0
    assert [entry.version for entry in folder.entries()] == [2, 2]
    assert cli.main(["feedback", "delete", "--older-than", "nan"]) == 2
    assert "--older-than: must be 0 to 36500 days" in capsys.readouterr().err
    assert cli.main(["feedback", "delete", "--all"]) == 0
    assert folder.files() == []


@pytest.mark.parametrize("arguments", [["list"], ["export", "--out", "x.csv"], ["delete", "--all"]])
def test_a_folder_has_to_be_named(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And to be there."""
    monkeypatch.delenv("SENTIMENT_FEEDBACK_FOLDER", raising=False)
    assert cli.main(["feedback", *arguments]) == 2
    assert "--folder, or set SENTIMENT_FEEDBACK_FOLDER" in capsys.readouterr().err
    assert cli.main(["feedback", *arguments, "--folder", str(tmp_path / "gone")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_training_and_evaluation_read_the_file_as_it_is(folder: FeedbackFolder) -> None:
    """By the columns that they look for of themselves."""
    [path] = folder.files()
    examples = file_examples(path, None, "label", ("negative", "positive"))
    assert (examples.texts, examples.labels) == ([text for text, *_ in GIVEN], [1, 0, 0, 0])
    folder.append(next(folder.entries()))
    splits = file_splits(path, None, "label", seed=1)
    assert splits.labels == ("negative", "positive")
    assert sum(splits.sizes.values()) == 5
    assert read_source(path).examples.labels == [2, 0, 0, 0, 2]
