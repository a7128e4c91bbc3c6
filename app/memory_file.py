"""Files for processes to share: one without a name, being alone with one, and writing all of something into it."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def memory_file(name: str) -> int:
    """Descriptor of a new empty file, in memory where the system has such files; it goes with its last user.

    Args:
        name: for whoever looks at a process' memory; it need not be unique.
    """
    with suppress(AttributeError, OSError):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@contextmanager
def alone(file: int) -> Iterator[None]:
    """Alone among processes with a file. Whoever is so packs, which takes a second, or is killed for giving no sign of
    life."""
    fcntl.lockf(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(file, fcntl.LOCK_UN)


def write_at(file: int, start: int, values: memoryview) -> None:
    """Write all of this from there on.

    Raises:
        OSError: there is no room.
    """
    while values:
        written = os.pwrite(file, values, start)
        start, values = start + written, values[written:]
