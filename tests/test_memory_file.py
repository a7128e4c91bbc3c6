"""A file without a name that processes share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from app.memory_file import memory_file


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_child_reads_what_was_written(in_memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that inherits it has the same file, where the system has none in memory too."""
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create")
    file = memory_file("shared")
    try:
        os.pwrite(file, b"weights", 64)
        code = f"import os; os.write(1, os.pread({file}, 7, 64))"
        found = subprocess.run(
            [sys.executable, "-c", code], pass_fds=[file], capture_output=True, check=True, timeout=60
        )
        assert found.stdout == b"weights"
    finally:
        os.close(file)
