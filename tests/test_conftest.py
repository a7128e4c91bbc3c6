"""The fixtures and hooks that all tests share."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = """
import gc, socket

class Cycle: ...

def test_fails():
    held = Cycle()
    held.itself, held.socket = held, socket.socket()
    assert not held

def test_passes():
    gc.collect()
"""


def test_a_failed_test_fails_no_other(tmp_path: Path) -> None:
    """Whatever it left open, and whenever that is collected."""
    path = tmp_path / "test_two.py"
    path.write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "tests.conftest", str(path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert "1 failed, 1 passed" in ended.stdout, ended.stdout + ended.stderr
