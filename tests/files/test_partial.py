"""Files under construction: whatever moment a run is killed at, the next one comes to the same file."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import IO

import pytest

from app.errors import BusyFileError, DataError, ServiceError
from app.files.job import Job
from app.files.layout import Format
from app.files.partial import PartialFile, is_complete
from app.files.pipeline import score
from app.files.results import ResultColumns
from app.files.table import WINDOW_ROWS
from app.files.writing import JsonEncoder, Style, encoder_for
from tests.files.tables import CSV, JSONL, LABELS, LengthScorer, table_of

ROWS = 3 * WINDOW_ROWS + 5
DATA = b"review\n" + b"".join(b"film number %d\n" % row for row in range(ROWS - 1)) + "Über alles\n".encode()
"""The last row is judged as none before it."""
INPUTS = {"input": 1, "model": "length"}


def run(
    out: Path,
    scorer: LengthScorer,
    *,
    stop_after: int | None = None,
    overwrite: bool = False,
    form: Format = CSV.format,
) -> None:
    """One run; stopped as if it were killed after so many windows."""
    with PartialFile(out, INPUTS, overwrite=overwrite) as partial:
        table = table_of(DATA)
        columns = ResultColumns.beside(table.columns, LABELS, rating=False)
        encoder = encoder_for(table, columns, Style(form))
        if not partial.progress.size:
            partial.append(encoder.head())
        for number, _ in enumerate(score(table, scorer, columns, encoder, partial.progress.summary, partial.append), 1):
            if number == stop_after:
                return
        partial.finish(encoder)


def job(scorer: LengthScorer) -> Job:
    """What a command runs."""
    return Job(table_of(DATA), scorer, Style(CSV.format), keep_na=False)


def whole(tmp_path: Path) -> bytes:
    out = tmp_path / "whole.csv"
    run(out, LengthScorer())
    return out.read_bytes()


@pytest.mark.parametrize("torn", [b"", b"half a row that no journal kno"])
def test_a_killed_run_is_gone_on_with(tmp_path: Path, torn: bytes) -> None:
    """Rows that are done are not scored again; bytes behind them are cut off; the file is the same to the last."""
    out = tmp_path / "scored.csv"
    run(out, LengthScorer(), stop_after=2)
    assert not out.exists()
    with (tmp_path / "scored.csv.partial").open("ab") as file:
        file.write(torn)
    scorer = LengthScorer()
    run(out, scorer)
    assert len(scorer.seen) == ROWS - 2 * WINDOW_ROWS
    assert out.read_bytes() == whole(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"scored.csv", "whole.csv"}


def test_killed_between_bytes_and_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The window is scored again, once."""
    out = tmp_path / "scored.csv"
    replace, calls = Path.replace, []

    def replace_twice(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_twice)
        with pytest.raises(KeyboardInterrupt):
            run(out, LengthScorer())
    run(out, LengthScorer())
    assert out.read_bytes() == whole(tmp_path)


def test_a_service_that_is_gone_keeps_what_is_done(tmp_path: Path) -> None:
    """The error comes out, and the next run goes on behind the windows before it."""
    out = tmp_path / "scored.csv"
    with pytest.raises(ServiceError):
        run(out, LengthScorer(poison=f"film number {2 * WINDOW_ROWS}"))
    scorer = LengthScorer()
    run(out, scorer)
    assert scorer.seen[0] == f"film number {2 * WINDOW_ROWS}"
    assert out.read_bytes() == whole(tmp_path)


@pytest.mark.parametrize("killed", [True, False])
def test_stopped_before_the_first_rows_were_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, killed: bool
) -> None:
    """The header is there once; an error leaves nothing behind, and of a kill nothing counts, whatever comes next."""
    out = tmp_path / "scored.csv"
    if killed:
        with monkeypatch.context() as patch, PartialFile(out, {**INPUTS, "model": "other"}, overwrite=False) as partial:
            patch.setattr(PartialFile, "_remove", lambda _: None)
            partial.append(job(LengthScorer()).encoder.head())
        assert (tmp_path / "scored.csv.journal").exists()
    else:
        with pytest.raises(ServiceError):
            job(LengthScorer(poison="film number 0")).to_file(out, INPUTS, overwrite=False)
        assert not list(tmp_path.iterdir())
    job(LengthScorer()).to_file(out, INPUTS, overwrite=False)
    assert out.read_bytes() == whole(tmp_path)


def test_other_inputs_are_refused(tmp_path: Path) -> None:
    """A file half by one model and half by another would not say so; --overwrite forgets the first half."""
    out = tmp_path / "scored.csv"
    run(out, LengthScorer(), stop_after=1)
    with pytest.raises(DataError, match=r"begun with another model \(length, now other\)"):
        PartialFile(out, {**INPUTS, "model": "other"}, overwrite=False)
    scorer = LengthScorer()
    run(out, scorer, overwrite=True)
    assert len(scorer.seen) == ROWS


def test_a_finished_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    """Nor is anything scored for it."""
    out = tmp_path / "scored.csv"
    run(out, LengthScorer())
    modified = tmp_path.stat().st_mtime_ns
    with pytest.raises(DataError, match="exists already"):
        run(out, LengthScorer())
    assert tmp_path.stat().st_mtime_ns == modified  # its folder may be read-only
    run(out, LengthScorer(), overwrite=True)


@pytest.mark.parametrize("form", [Format.CSV, Format.PARQUET])
def test_killed_when_all_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Format) -> None:
    """The file has its name; what lies beside it is removed by whoever comes next, and nobody's work is."""
    name = f"scored.{form}"
    out = tmp_path / name

    def killed(_self: PartialFile) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PartialFile, "_remove", killed)
        with pytest.raises(KeyboardInterrupt):
            run(out, LengthScorer(), form=form)
    whole = out.read_bytes()
    left = {path.name for path in tmp_path.iterdir()}
    assert f"{name}.journal" in left
    assert is_complete(out)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert out.read_bytes() == whole


def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    """Put there while a run was stopped: the run's rows stay."""
    out = tmp_path / "scored.csv"
    assert not is_complete(out)
    run(out, LengthScorer(), stop_after=1)
    out.write_text("mine")
    assert is_complete(out)
    assert (tmp_path / "scored.csv.partial").stat().st_size
    assert (tmp_path / "scored.csv.journal").exists()
    out.unlink()
    scorer = LengthScorer()
    run(out, scorer)
    assert len(scorer.seen) == ROWS - WINDOW_ROWS


def test_removed_while_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a run that ended just then: what is locked is the file that is there."""
    out = tmp_path / "scored.csv"
    flock = fcntl.flock

    def late(file: IO[bytes], operation: int) -> None:
        monkeypatch.undo()
        (tmp_path / "scored.csv.partial").unlink()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with PartialFile(out, INPUTS, overwrite=False), pytest.raises(BusyFileError):
        PartialFile(out, INPUTS, overwrite=False)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    """A second one would write into the same file."""
    out = tmp_path / "scored.csv"
    with PartialFile(out, INPUTS, overwrite=False), pytest.raises(DataError, match="another run is writing it"):
        PartialFile(out, INPUTS, overwrite=True)


@pytest.mark.parametrize("journal", ["", "[]", "{}", '{"inputs": {}, "summary": {}}', "\0"])
def test_a_damaged_journal(tmp_path: Path, journal: str) -> None:
    """Named; nothing is guessed and nothing thrown away."""
    out = tmp_path / "scored.csv"
    run(out, LengthScorer(), stop_after=1)
    (tmp_path / "scored.csv.journal").write_text(journal)
    with pytest.raises(DataError, match=r"scored\.csv\.(journal: not a journal|partial: begun with another)"):
        PartialFile(out, INPUTS, overwrite=False)
    assert (tmp_path / "scored.csv.partial").stat().st_size


def test_a_partial_file_that_lost_bytes(tmp_path: Path) -> None:
    """As after a failure of the disk."""
    out = tmp_path / "scored.csv"
    run(out, LengthScorer(), stop_after=1)
    (tmp_path / "scored.csv.partial").write_bytes(b"review")
    with pytest.raises(DataError, match="shorter than its journal says"):
        PartialFile(out, INPUTS, overwrite=False)


def test_nothing_is_left_of_a_run_that_did_nothing(tmp_path: Path) -> None:
    """For instance one whose table has no such column."""
    with PartialFile(tmp_path / "scored.csv", INPUTS, overwrite=False):
        pass
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    """Nor is a device: root could, and whoever reads there would wait for ever."""
    pipe = tmp_path / "scored.csv"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="a pipe, which cannot be replaced; - stands for standard output"):
        PartialFile(pipe, INPUTS, overwrite=True)
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["scored.csv"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    """What it leads to is written, beside which there may be more room; the link stays."""
    (tmp_path / "large").mkdir()
    link, out = tmp_path / "link.csv", tmp_path / "large" / "scored.csv"
    link.symlink_to(out)
    run(link, LengthScorer(), stop_after=1)
    assert (tmp_path / "large" / "scored.csv.partial").exists()
    run(link, LengthScorer())
    assert link.is_symlink()
    assert out.read_bytes() == whole(tmp_path)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Named."""
    with pytest.raises(DataError, match="missing"):
        PartialFile(tmp_path / "missing" / "scored.csv", INPUTS, overwrite=False)


def test_a_field_that_comes_late_and_is_taken() -> None:
    """From standard input it cannot be known: the user's value is not overwritten."""
    table = table_of(b'{"text":"a"}', JSONL)
    columns = ResultColumns.beside(table.columns, LABELS, rating=False)
    encoder = encoder_for(table, columns, Style(JSONL.format))
    [window] = table_of(b'{"text":"a","label":"mine"}', JSONL).windows()
    with pytest.raises(DataError, match="'label'"):
        encoder.encode(window, [(None,) * 5])


def test_a_full_disk_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which file cannot be written is said, no other is left behind, and the next run goes on."""
    out = tmp_path / "scored.csv"
    run(out, LengthScorer(), stop_after=2)
    with monkeypatch.context() as patched:
        patched.setattr("app.files.partial.os.fsync", _full)
        with pytest.raises(DataError, match=r"scored\.csv\.partial: cannot be written \(No space left on device\)"):
            run(out, LengthScorer())
    scorer = LengthScorer()
    run(out, scorer)
    assert len(scorer.seen) == ROWS - 2 * WINDOW_ROWS
    assert out.read_bytes() == whole(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"scored.csv", "whole.csv"}


def test_a_disk_that_is_full_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the last step fails, the rows stay: the next run scores none of them again."""
    out = tmp_path / "scored.csv"
    with PartialFile(out, INPUTS, overwrite=False) as partial:
        partial.progress.summary.labels["positive"] = ROWS
        partial.append(DATA)
        with monkeypatch.context() as patched:
            patched.setattr("app.files.partial.os.fsync", _full)
            with pytest.raises(DataError, match=r"scored\.csv: cannot be written \(No space left on device\)"):
                partial.finish(JsonEncoder(ResultColumns.beside([], LABELS, rating=False)))
    assert {path.name for path in tmp_path.iterdir()} == {"scored.csv.partial", "scored.csv.journal"}
    with PartialFile(out, INPUTS, overwrite=False) as partial:
        assert partial.progress.size == len(DATA)


def _full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
