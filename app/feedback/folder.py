"""The folder of feedback: one file of JSON lines a model, ``<folder>/<model>.jsonl``, which training reads as it is.

All HTTP workers append to it, each line under one lock of all processes. A line is on disk before its sender is told
that it is kept; what a stopped machine left half-written, and nobody was told of, is cut off by who appends next.
Nothing is changed but by ``delete``, which writes a file anew and takes its place.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from app.atomic import flush_folder
from app.errors import DataError, FeedbackError, FeedbackFullError, told_of

SUFFIX = ".jsonl"
_LOCK_FILE = ".lock"
_NEW = ".new"
_PATIENCE = 2.0
"""Seconds that appending waits for others; a deletion may take longer, and then the sender is asked to come again."""
_DELETE_PATIENCE = 60.0
_PAUSE = 0.002
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FeedbackEntry(BaseModel):
    """One line: a text and its right label.

    Attributes:
        time: when it came.
        text: the text.
        label: its right label.
        answered: the label that was answered; None where that was not said.
        model, version: what answered; where that was not said, what was served when the feedback came.
        request_id: of the request that was answered.
        comment: of the sender.
        by: name of the sender's API key.
    """

    model_config = ConfigDict(frozen=True)

    time: AwareDatetime
    text: str
    label: str
    answered: str | None = None
    model: str
    version: int
    request_id: str | None = None
    comment: str | None = None
    by: str | None = None

    @property
    def right(self) -> bool | None:
        """Whether the answer was right; None where it is not known."""
        return None if self.answered is None else self.answered == self.label


@dataclass(frozen=True)
class FeedbackFolder:
    """Feedback in a folder, within a bound.

    Attributes:
        path: the folder, which must be there.
        limit: most bytes of all files together.
    """

    path: Path
    limit: int

    def files(self) -> list[Path]:
        """The files, by name."""
        return sorted(self.path.glob(f"*{SUFFIX}"))

    def size(self) -> int:
        """Bytes of all files."""
        sizes = 0
        for path in self.files():
            with suppress(FileNotFoundError):
                sizes += path.stat().st_size
        return sizes

    def append(self, entry: FeedbackEntry) -> None:
        """Keep an entry, in the file of its model. Blocking: it is on disk afterwards.

        Raises:
            FeedbackFullError: there is no room.
            FeedbackError: it could not be kept now.
        """
        line = (entry.model_dump_json(exclude_none=True) + "\n").encode()
        path = self.path / f"{entry.model}{SUFFIX}"
        try:
            with self._locked(_PATIENCE):
                if self.size() + len(line) > self.limit:
                    raise FeedbackFullError(f"{self.limit} bytes of feedback are kept at most")
                is_new = not path.exists()
                _append(path, line)
                if is_new:
                    flush_folder(self.path)
        except OSError as error:
            if error.errno in _FULL:
                raise FeedbackFullError("the disk is full") from error
            raise FeedbackError(f"cannot be written ({error.strerror})") from error

    def entries(self) -> Iterator[FeedbackEntry]:
        """All entries, by model and in the order in which they came.

        Raises:
            DataError: a file cannot be read or a line is malformed; names both.
        """
        for path in self.files():
            yield from (entry for entry, _ in _lines(path))

    def delete(self, chosen: Callable[[FeedbackEntry], bool]) -> int:
        """Delete entries for good; how many. Who appends meanwhile waits, or is told to come again.

        Args:
            chosen: says of each whether to delete it.

        Raises:
            DataError: see ``entries``; or the folder cannot be written to.
            FeedbackError: others work on it for too long.
        """
        with told_of(self.path, "written"), self._locked(_DELETE_PATIENCE):
            for path in self.path.glob(f"*{_NEW}"):
                path.unlink()  # of a deletion that was broken off
            return sum(_delete(path, chosen) for path in self.files())

    @contextmanager
    def _locked(self, patience: float) -> Iterator[None]:
        """While nobody else, in this process or another, changes the files."""
        descriptor = os.open(self.path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + patience
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise FeedbackError("others are at work on the feedback") from None
                    time.sleep(_PAUSE)
            yield
        finally:
            os.close(descriptor)


def _append(path: Path, line: bytes) -> None:
    """Add a line to a file, wholly or not at all, and have it on disk."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        end = _whole_lines(descriptor)
        os.ftruncate(descriptor, end)
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)


def _whole_lines(descriptor: int) -> int:
    """Where the last whole line of a file ends."""
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - 65_536)
        at = os.pread(descriptor, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _lines(path: Path) -> Iterator[tuple[FeedbackEntry, bytes]]:
    """Entries of a file, each with its line; a last line that is not whole is being written, or never was kept."""
    with told_of(path), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield FeedbackEntry.model_validate_json(line), line
            except ValidationError as error:
                first = error.errors()[0]
                field = ".".join(map(str, first["loc"])) or "line"
                raise DataError(f"{path}, line {number}: {field}: {first['msg']}") from None


def _delete(path: Path, chosen: Callable[[FeedbackEntry], bool]) -> int:
    """Write a file anew without the chosen entries; how many they were. A file of none is gone afterwards."""
    deleted = kept = 0
    replacement = path.with_name(f".{path.name}{_NEW}")
    try:
        with os.fdopen(os.open(replacement, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for entry, line in _lines(path):
                if chosen(entry):
                    deleted += 1
                else:
                    kept += 1
                    file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if deleted and kept:
            replacement.replace(path)
        elif deleted:
            path.unlink()
    finally:
        replacement.unlink(missing_ok=True)
    flush_folder(path.parent)
    return deleted
