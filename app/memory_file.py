"""A file without a name, for processes to share."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress


def memory_file(name: str) -> int:
    """Descriptor of a new empty file, in memory where the system has such files; it goes with its last user.

    Args:
        name: for whoever looks at a process' memory; it need not be unique.
    """
    with suppress(AttributeError, OSError):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
