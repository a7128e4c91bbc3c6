"""A file under construction, which a run that was killed goes on with.

What is written is appended to ``OUT.partial``; after each window a journal, ``OUT.journal``, is replaced that says how
many rows and bytes count. Bytes behind those are from a window whose journal was never written, and are cut off. The
file gets its name when it is complete. Right before that the journal says so: what lies beside a complete file, because
the run was killed at that moment, is removed by the next one.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from app.errors import BusyFileError, DataError, told_of
from app.files.results import Summary
from app.files.writing import Encoder

_VERSION = 3
"""Of the journal, and of where windows end: both decide what a run can go on with."""
_TRIALS = 10
"""How often a partial file is opened that other runs remove at that moment."""


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        size: bytes that count.
        summary: of the rows that are done.
    """

    size: int = 0
    summary: Summary = field(default_factory=Summary)


class PartialFile:
    """Appends to ``OUT.partial``. One process at a time.

    Args:
        out: the file's place when it is complete.
        inputs: everything that decides its content, by what people call it; None: it cannot be gone on with.
        overwrite: begin anew, whatever is there.

    Attributes:
        progress: how far an earlier run came; fresh where there was none. The caller counts on in it.
        rows: rows that are safe.

    Raises:
        BusyFileError: another run writes it.
        DataError: ``out`` exists, or is no file that can be replaced, or an earlier run had other inputs.
    """

    def __init__(self, out: Path, inputs: Mapping[str, Any] | None, *, overwrite: bool) -> None:
        if out.is_symlink():
            out = out.resolve()  # what it leads to is replaced, and not the link
        if out.exists() and not out.is_file():
            raise DataError(f"{out}: is a device or a pipe, which cannot be replaced; - stands for standard output")
        self._out = out
        self._partial = out.with_name(out.name + ".partial")
        self._journal = out.with_name(out.name + ".journal")
        self._new_journal = out.with_name(out.name + ".journal.new")
        self._inputs = json.loads(json.dumps({"version": _VERSION, **(inputs or {})}))
        there = DataError(f"{out}: exists already; --overwrite replaces it")
        if out.exists() and not overwrite and not self._journal.exists():
            raise there
        self._file = self._locked()
        try:
            if out.exists() and not overwrite:
                if self._is_complete() or not self._partial.stat().st_size:
                    self._remove()
                raise there
            self.progress = Progress() if overwrite or inputs is None else self._resume()
        except DataError:
            self._file.close()
            raise
        self.rows = self.progress.summary.rows
        self._file.truncate(self.progress.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.rows:
            self._remove()
        with suppress(OSError):  # what a full disk did not take was refused before
            self._file.close()

    def append(self, data: bytes) -> None:
        """Write further bytes and make all that was counted in ``progress`` so far count."""
        size = self.progress.size + len(data)
        with told_of(self._partial, "written"):
            self._file.write(data)
            self._file.flush()
            # The journal must never promise what the disk does not have.
            os.fsync(self._file.fileno())
            self._write_journal(size, complete=False)
        self.progress.size = size
        self.rows = self.progress.summary.rows

    def finish(self, encoder: Encoder) -> None:
        """Give the file its name and remove what led to it."""
        complete = self._out.with_name(self._out.name + ".complete")
        with told_of(self._out, "written"):
            try:
                encoder.finish(self._partial, complete)
                with complete.open("rb") as file:
                    os.fsync(file.fileno())
                self._write_journal(self.progress.size, complete=True)
                complete.replace(self._out)
            except BaseException:
                self._take_back(complete)
                raise
        self._remove()

    def _locked(self) -> IO[bytes]:
        """The partial file, for this process alone."""
        for _ in range(_TRIALS):
            with told_of(self._partial, "written"):
                file = self._partial.open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.close()
                raise BusyFileError(f"{self._partial}: another run is writing it") from error
            # The run before may have removed it after it was opened here; then it is locked, but not there.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), self._partial.stat()):
                    return file
            file.close()
        raise BusyFileError(f"{self._partial}: other runs keep writing it")

    def _write_journal(self, size: int, *, complete: bool) -> None:
        document = {
            "inputs": self._inputs,
            "size": size,
            "complete": complete,
            "summary": vars(self.progress.summary),
        }
        self._new_journal.write_text(json.dumps(document), encoding="utf-8")
        self._new_journal.replace(self._journal)

    def _is_complete(self) -> bool:
        """Whether the journal is of a run that had nothing left to do but to remove it."""
        try:
            return json.loads(self._journal.read_text(encoding="utf-8"))["complete"] is True
        except (OSError, ValueError, TypeError, LookupError):
            return False

    def _take_back(self, complete: Path) -> None:
        """Leave nothing but what another run goes on with: the partial file, which may have been moved."""
        if self._partial.exists():
            complete.unlink(missing_ok=True)
        elif complete.exists():
            complete.replace(self._partial)

    def _remove(self) -> None:
        self._journal.unlink(missing_ok=True)
        self._new_journal.unlink(missing_ok=True)
        self._partial.unlink(missing_ok=True)

    def _resume(self) -> Progress:
        if not self._journal.exists() or not self._partial.stat().st_size:
            return Progress()
        try:
            document = json.loads(self._journal.read_text(encoding="utf-8"))
            inputs, summary = document.pop("inputs"), document.pop("summary")
            document.pop("complete", None)  # a run that is gone on with was not
            for name in ("labels", "errors", "judgements"):
                summary[name] = Counter(summary[name])
            progress = Progress(**document, summary=Summary(**summary))
        except (OSError, ValueError, TypeError, LookupError) as error:
            raise DataError(f"{self._journal}: not a journal of this program; --overwrite begins anew") from error
        if not progress.summary.rows:
            return Progress()  # there is only what stands before the first row, and that is written anew
        for name, value in self._inputs.items():
            if inputs.get(name) != value:
                said = "" if isinstance(value, list) else f" ({inputs.get(name)}, now {value})"
                raise DataError(f"{self._partial}: begun with another {name}{said}; --overwrite begins anew")
        if self._partial.stat().st_size < progress.size:
            raise DataError(f"{self._partial}: shorter than its journal says; --overwrite begins anew")
        return progress


def is_complete(out: Path) -> bool:
    """Whether a file is there under its own name. What a run left beside it that was killed right then is removed."""
    if not out.exists():
        return False
    with suppress(DataError):
        PartialFile(out, None, overwrite=False)
    return True
