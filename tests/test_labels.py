"""Labels: what they name, how they move, and what becomes of a file that is not as it should be."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from app.errors import CheckpointError
from app.labels import CANDIDATE, CHAMPION, LABELS_FILE, MAX_HISTORY, MAX_LABELS, Labels, change_labels, read_labels


def champions(*versions: int) -> Labels:
    labels = Labels()
    for version in versions:
        labels = labels.moved(CHAMPION, version, "label")
    return labels


def test_a_model_without_a_file_has_no_labels(tmp_path: Path) -> None:
    assert read_labels(tmp_path) == Labels()


def test_labels_survive_the_file(tmp_path: Path) -> None:
    """And the file is for everybody to read, as a version's files are."""
    written = change_labels(tmp_path, lambda labels: labels.moved(CANDIDATE, 3, "label"))
    assert read_labels(tmp_path) == written
    assert written.labels == {CANDIDATE: 3}
    assert (tmp_path / LABELS_FILE).stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == [LABELS_FILE]


def test_a_change_that_fails_leaves_everything(tmp_path: Path) -> None:
    before = change_labels(tmp_path, lambda labels: labels.moved(CHAMPION, 1, "label"))
    with pytest.raises(CheckpointError, match="no candidate"):
        change_labels(tmp_path, Labels.promoted)
    assert read_labels(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == [LABELS_FILE]


def test_two_who_change_labels_lose_nothing(tmp_path: Path) -> None:
    """Each sees what the others wrote."""
    barrier = threading.Barrier(8)

    def change(number: int) -> None:
        barrier.wait(timeout=30)
        change_labels(tmp_path, lambda labels: labels.moved(f"l{number}", number, "label"))

    threads = [threading.Thread(target=change, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_labels(tmp_path).labels == {f"l{number}": number for number in range(1, 9)}


def test_promoting_makes_the_candidate_the_champion() -> None:
    """There is no candidate then; both changes are in the history."""
    labels = champions(1).moved(CANDIDATE, 2, "label").promoted()
    assert labels.labels == {CHAMPION: 2}
    assert [(change.label, change.before, change.after, change.how) for change in labels.history[-2:]] == [
        (CHAMPION, 1, 2, "promote"),
        (CANDIDATE, 2, None, "promote"),
    ]


def test_rolling_back_goes_back_further_each_time() -> None:
    """Never to a champion that was itself rolled back, and to an end that is said."""
    labels = champions(1, 2, 3).rolled_back()
    assert labels.labels[CHAMPION] == 2
    labels = labels.rolled_back()
    assert labels.labels[CHAMPION] == 1
    with pytest.raises(CheckpointError, match="no champion before version 1"):
        labels.rolled_back()
    assert labels.moved(CHAMPION, 4, "label").rolled_back().labels[CHAMPION] == 1


def test_rolling_back_a_champion_that_was_removed_brings_it_back() -> None:
    assert champions(1, 2).moved(CHAMPION, None, "remove").rolled_back().labels[CHAMPION] == 2


def test_history_and_labels_are_bounded() -> None:
    """What is forgotten is the oldest; back goes as far as the history does."""
    labels = champions(*range(1, MAX_HISTORY + 11))
    assert len(labels.history) == MAX_HISTORY
    assert labels.history[-1].after == MAX_HISTORY + 10
    assert labels.rolled_back().labels[CHAMPION] == MAX_HISTORY + 9
    labels = Labels()
    for number in range(MAX_LABELS):
        labels = labels.moved(f"l{number}", 1, "label")
    with pytest.raises(CheckpointError, match="there are 32 already"):
        labels.moved("more", 1, "label")
    assert labels.moved("l0", 2, "label").labels["l0"] == 2


@pytest.mark.parametrize("label", ["", "1", "A", "a b", "a/b", "a@b", "-a", "a" * 65])
def test_what_may_be_no_label(label: str) -> None:
    with pytest.raises(CheckpointError, match="label"):
        Labels().moved(label, 1, "label")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "document"),
        (b"\xff", "document"),
        (b"[]", "document"),
        ({"format": 2}, "format"),
        ({"labels": {"champion": 0}}, "champion"),
        ({"labels": {"champion": "x"}}, "champion"),
        ({"labels": {"No Label": 1}}, "labels"),
        ({"labels": {f"l{number}": 1 for number in range(MAX_LABELS + 1)}}, "labels"),
        ({"history": [{"label": "champion"}]}, "history.0.time"),
        ({"more": 1}, "more"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, content: object, field: str) -> None:
    """With the field; it is never overwritten."""
    path = tmp_path / LABELS_FILE
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(CheckpointError, match=rf"{LABELS_FILE}: .*{field}"):
        read_labels(tmp_path)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=LABELS_FILE):
        change_labels(tmp_path, lambda labels: labels.moved(CHAMPION, 1, "label"))
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written"):
        change_labels(tmp_path / "nowhere", lambda labels: labels)
