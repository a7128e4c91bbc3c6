"""``SHA256SUMS`` of a version's folder: one line per file, in the format of ``sha256sum``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from app.atomic import replace_file
from app.errors import CheckpointError, told_of

SUMS_FILE = "SHA256SUMS"


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file.

    Raises:
        CheckpointError: the file cannot be read.
    """
    with told_of(path, kind=CheckpointError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sums(folder: Path, sums: Mapping[str, str] | None = None) -> None:
    """Write ``SHA256SUMS``.

    Args:
        folder: of a version.
        sums: by file; None: those of every other file of the folder.
    """
    if sums is None:
        sums = {path.name: sha256(path) for path in folder.iterdir() if path.is_file() and path.name != SUMS_FILE}
    replace_file(folder / SUMS_FILE, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))


def read_sums(path: Path) -> dict[str, str]:
    """The checksums in a file, by the names of what they are of.

    Raises:
        CheckpointError: it cannot be read, or is malformed.
    """
    try:
        with told_of(path, kind=CheckpointError):
            lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: not a list of checksums") from error
    sums = {}
    for line in lines:
        match = re.fullmatch(r"([0-9a-f]{64}) [ *]([A-Za-z0-9_.-]+)", line)
        if match is None:
            raise CheckpointError(f"{path}: not a list of checksums")
        sums[match[2]] = match[1]
    return sums


def verify(file: Path, expected: str) -> None:
    """Make sure that a file has a checksum.

    Raises:
        CheckpointError: it cannot be read, or has another one.
    """
    if sha256(file) != expected:
        raise CheckpointError(f"{file}: content differs from its checksum in {SUMS_FILE}")
