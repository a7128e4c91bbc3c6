"""The files in which processes keep their figures: with room on the disk, and with a note of whose they are."""

from __future__ import annotations

import json
import logging
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from prometheus_client.mmap_dict import MmapedDict

from app.atomic import replace_file
from app.memory_file import memory_file
from app.settings import ROLE_VARIABLE

logger = logging.getLogger(__name__)

_SHOWN_FILE = "shown.json"
"""Beside the files of a generation of processes: what they serve, and whether they still do."""
_FIRST_BYTES = 65_536
_ENTRY_BYTES = 32
"""Most bytes of a series beside its name."""
_VALUE_BYTES = 16


class Identity:
    """Which process of the service this is, by its environment.

    Attributes:
        name: such as ``engine-0``.
        role: such as ``engine``.
        number: such as ``0``.
        files: what its files are named by: its name, not its process id, so that a process that is started again goes
            on counting where its predecessor stopped.
    """

    def __init__(self) -> None:
        self.read()

    def read(self) -> None:
        """Become what the environment says."""
        given = os.environ.get(ROLE_VARIABLE)
        self.name = given or "worker-0"
        self.role, _, self.number = self.name.rpartition("-")
        self.files = given or str(os.getpid())


class ReservedFile(MmapedDict):
    """The library's mapped file of a process' figures, which has its room on the disk before anything is written there.

    The library's own has holes, and where the disk is full, writing into one of a mapped file ends the process. Here it
    costs figures: series for which there is no room are shown to nobody, and a process that finds none at all keeps its
    figures for itself.

    Args:
        filename: of the file.
    """

    def __init__(self, filename: str) -> None:
        with Path(filename).open("ab") as file:
            kept = bool(file.tell()) or _reserved(file.fileno(), _FIRST_BYTES)
        self._full = False
        descriptor = -1 if kept else memory_file("figures")
        super().__init__(filename if kept else f"/proc/self/fd/{descriptor}")  # type: ignore[no-untyped-call]
        if not kept:
            os.close(descriptor)

    def _init_value(self, key: str) -> None:
        needed = self._used + len(key.encode()) + _ENTRY_BYTES + _VALUE_BYTES
        while needed > self._capacity:
            # Once full it stays so, as what has no room would else be in the way of what gets some.
            self._full = self._full or not _reserved(self._f.fileno(), 2 * self._capacity)
            if self._full:
                # At the end, where nobody looks.
                self._positions[key] = self._capacity - _VALUE_BYTES
                return
            self._capacity *= 2
            self._m = mmap.mmap(self._f.fileno(), self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


class UnkeptFigures:
    """In the place of such a file where figures are nobody's: those of the fork server, whose copies open their own.

    It has no descriptor, whose number a copy might have given to another file before it closes this.
    """

    def __init__(self) -> None:
        self._figures: dict[str, tuple[float, float]] = {}

    def read_value(self, key: str) -> tuple[float, float]:
        """Of a series: its value, and when that was set."""
        return self._figures.get(key, (0.0, 0.0))

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        """Set both."""
        self._figures[key] = value, timestamp

    def close(self) -> None:
        """Nothing is open."""


def figures_in(filename: str) -> ReservedFile | UnkeptFigures:
    """What a process' figures are kept in: a file, or where its folder is ``os.devnull``, nothing."""
    return UnkeptFigures() if filename.startswith(f"{os.devnull}/") else ReservedFile(filename)


def _reserved(file: int, size: int) -> bool:
    """Whether a file has so many bytes on the disk from now on."""
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        logger.error("some metrics are not kept: their file cannot be written (%s)", error.strerror)
        return False
    return True


class GenerationFiles(NamedTuple):
    """Files of the metrics of processes that serve one model.

    Attributes:
        labels: name it.
        files: of all of them.
        serves: whether they still do.
    """

    labels: Mapping[str, str]
    files: list[str]
    serves: bool


def note_generation(folder: Path, document: Mapping[str, object]) -> None:
    """Note beside the files of a generation whose they are, and whether it ``serves``, so that they are shown. That a
    full disk prevents this ends nobody."""
    try:
        replace_file(folder / _SHOWN_FILE, json.dumps(document))
    except OSError as error:
        logger.error("what metrics in %s are of cannot be noted (%s)", folder.name, error.strerror)


def generations_in(folder: Path) -> list[GenerationFiles]:
    """The files of all processes, by generation; those of one that never served are not shown."""
    found = []
    for shown in sorted(folder.glob(f"*/{_SHOWN_FILE}")):
        labels = json.loads(shown.read_bytes())
        serves = labels.pop("serves")
        found.append(GenerationFiles(labels, sorted(map(str, shown.parent.glob("*.db"))), serves))
    return found
