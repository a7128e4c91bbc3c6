"""The folder of feedback: whole lines, bounds, many writers, deletion."""

from __future__ import annotations

import fcntl
import resource
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.errors import DataError, FeedbackError, FeedbackFullError
from app.feedback import folder as module
from app.feedback.folder import FeedbackEntry, FeedbackFolder
from tests.waiting import LIMIT, wait_until

ROOT = Path(__file__).parents[2]


def entry(text: str = "a good film", model: str = "tiny") -> FeedbackEntry:
    return FeedbackEntry(time=datetime.now(UTC), text=text, label="positive", model=model, version=1)


def texts(folder: FeedbackFolder) -> list[str]:
    return [found.text for found in folder.entries()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeedbackFolder:
    """An empty one; on a busy machine others may take their time."""
    monkeypatch.setattr(module, "_PATIENCE", LIMIT)
    return FeedbackFolder(tmp_path, 1_000_000)


def test_a_file_a_model_that_nobody_else_reads(folder: FeedbackFolder) -> None:
    """In the order in which they came; what was not said is not there."""
    for given in (entry("b\nc"), entry("é"), entry("a", "other")):
        folder.append(given)
    assert [path.name for path in folder.files()] == ["other.jsonl", "tiny.jsonl"]
    assert texts(folder) == ["a", "b\nc", "é"]
    assert {path.stat().st_mode & 0o777 for path in folder.files()} == {0o600}
    lines = (folder.path / "tiny.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert "answered" not in lines[0]
    assert folder.size() == sum(path.stat().st_size for path in folder.files())


def test_it_is_right_or_wrong_or_not_known() -> None:
    """By the label that was answered."""
    given = entry()
    answers = {said: given.model_copy(update={"answered": said}).right for said in ("positive", "negative", None)}
    assert answers == {"positive": True, "negative": False, None: None}


def test_what_is_kept_is_bounded(folder: FeedbackFolder) -> None:
    """All files together; to the last byte, and not one more until some is deleted."""
    folder.append(entry(model="other"))
    line = folder.size()
    small = FeedbackFolder(folder.path, 2 * line)
    small.append(entry(model="third"))
    with pytest.raises(FeedbackFullError, match=f"^{2 * line} bytes"):
        small.append(entry())
    assert small.size() == 2 * line
    assert small.delete(lambda found: found.model == "other") == 1
    small.append(entry(model="other"))


def test_many_processes_append_at_once(folder: FeedbackFolder) -> None:
    """Every line is whole and there, and those of one process are in its order."""
    code = (
        "import sys; from pathlib import Path; from tests.feedback.test_folder import FeedbackFolder, entry, module\n"
        "module._PATIENCE = 60\n"
        "folder = FeedbackFolder(Path(sys.argv[1]), 10_000_000)\n"
        "for number in range(60): folder.append(entry(f'{sys.argv[2]} {number} ' + 'x' * number * 50))"
    )
    command = [sys.executable, "-c", code, str(folder.path)]
    writers = [subprocess.Popen([*command, str(writer)], cwd=ROOT) for writer in range(3)]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    found = [tuple(map(int, text.split()[:2])) for text in texts(folder)]
    assert sorted(found) == [(writer, number) for writer in range(3) for number in range(60)]
    assert [number for writer, number in found if writer == 1] == list(range(60))


def test_a_line_that_was_not_finished_is_cut_off(folder: FeedbackFolder) -> None:
    """As after a power failure: nobody was told that it is kept. Readers pass it over, who appends next removes it."""
    folder.append(entry("first"))
    path = folder.path / "tiny.jsonl"
    for torn in (b'{"text": "' + b"torn" * 40_000, b"\0"):
        with path.open("ab") as file:
            file.write(torn)
        before = texts(folder)
        folder.append(entry("next"))
        assert texts(folder) == [*before, "next"]
    path.write_bytes(b"never a line")
    folder.append(entry("only"))
    assert texts(folder) == ["only"]


def test_a_full_disk_leaves_no_half_of_a_line(folder: FeedbackFolder) -> None:
    """The limit on the size of a file stands for the disk: part of the line can be written."""
    folder.append(entry())
    size = folder.size()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
    try:
        with pytest.raises(FeedbackFullError, match="the disk is full"):
            folder.append(entry())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert folder.size() == size
    folder.append(entry())
    assert folder.size() == 2 * size


def test_it_cannot_be_written(tmp_path: Path) -> None:
    """The folder is gone, or the file is a link, which could lead anywhere."""
    with pytest.raises(FeedbackError, match=r"cannot be written \(No such file"):
        FeedbackFolder(tmp_path / "gone", 1_000).append(entry())
    (tmp_path / "tiny.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FeedbackError, match="cannot be written"):
        FeedbackFolder(tmp_path, 1_000).append(entry())
    assert not (tmp_path / "elsewhere").exists()


def test_waiting_for_others_has_an_end(folder: FeedbackFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else holds the lock for good."""
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    folder.append(entry())
    with (folder.path / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FeedbackError, match="others are at work"):
            folder.append(entry())
    folder.append(entry())


def test_deletion_takes_what_is_chosen_and_nothing_else(folder: FeedbackFolder) -> None:
    """The rest stays byte for byte; a file of nothing is gone, and so is what a broken-off deletion left."""
    for text in ("keep", "drop", "keep too"):
        folder.append(entry(text))
    folder.append(entry("drop", "other"))
    lines = (folder.path / "tiny.jsonl").read_bytes().splitlines(keepends=True)
    (folder.path / ".tiny.jsonl.new").write_text("left")
    assert folder.delete(lambda found: found.text == "drop") == 2
    assert (folder.path / "tiny.jsonl").read_bytes() == lines[0] + lines[2]
    assert sorted(path.name for path in folder.path.iterdir()) == [".lock", "tiny.jsonl"]
    assert (folder.path / "tiny.jsonl").stat().st_mode & 0o777 == 0o600
    assert folder.delete(lambda found: found.text == "drop") == 0


def test_who_appends_while_others_delete_loses_nothing(folder: FeedbackFolder) -> None:
    """The file that is appended to is the one that is there."""
    written: list[int] = []
    faults: list[Exception] = []

    def write() -> None:
        try:
            for number in range(60):
                folder.append(entry("drop" if number % 2 else f"keep {number}"))
                written.append(number)
        except FeedbackError as error:
            faults.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    deleted = 0
    while writer.is_alive() and len(written) < 60 and not faults:
        seen = len(written)
        deleted += folder.delete(lambda found: found.text == "drop")
        wait_until(lambda seen=seen: len(written) in range(seen + 1, 61) or faults, "nothing is written")  # type: ignore[misc]
    writer.join()
    assert faults == []
    deleted += folder.delete(lambda found: found.text == "drop")
    assert deleted == 30
    assert texts(folder) == [f"keep {number}" for number in range(0, 60, 2)]


def test_a_line_that_is_not_feedback_is_named(folder: FeedbackFolder) -> None:
    """By file, line and field; nothing is deleted then."""
    folder.append(entry())
    path = folder.path / "tiny.jsonl"
    with path.open("a") as file:
        file.write('{"text": "a"}\n')
    before = path.read_bytes()
    for use in (lambda: texts(folder), lambda: folder.delete(lambda _: True)):
        with pytest.raises(DataError, match=r"tiny\.jsonl, line 2: time: Field required"):
            use()
    assert path.read_bytes() == before
