"""Atomic writes: a file or a folder appears whole or not at all, also when the machine stops in between."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file, readable by everybody: who reads it meanwhile sees the old content or the new one.

    Args:
        path: of the file.
        text: its content.
        mode: who may read it, where that is not everybody.

    Raises:
        OSError: its folder cannot be written to.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    flush_folder(path.parent)


def flush(folder: Path) -> None:
    """Have the files of a folder on disk, and the folder."""
    for entry in folder.iterdir():
        with entry.open("rb") as file:
            os.fsync(file.fileno())
    flush_folder(folder)


def flush_folder(folder: Path) -> None:
    """Have on disk which files are in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
