"""Help fits a screen, and a shell completes what there is."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import shtab

from app import cli
from app.terminal import SHELLS, completion

COLUMNS, LINES = 80, 46


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser, and those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)


def test_help_fits_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every command: no line is wider than a terminal, ``classify`` with its 27 flags is the longest, and usage
    names what has to be given alone."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    shown = {parser.prog: parser.format_help() for parser in parsers(cli._parser())}
    assert len(shown) > 20
    for text in shown.values():
        assert len(text.splitlines()) <= LINES
        assert max(map(len, text.splitlines())) <= COLUMNS
    usage, *_ = shown["python -m app classify"].splitlines()
    assert usage == "usage: python -m app classify [options] INPUT [INPUT ...]"
    usage, *_ = shown["python -m app keys new"].splitlines()
    assert usage == "usage: python -m app keys new [options] --name NAME"


def completed(script: str, *words: str) -> list[str]:
    """What bash offers where the last of these words is being typed."""
    asked = " ".join(f"'{word}'" for word in words)
    program = f"""{script}
COMP_WORDS=({asked}); COMP_CWORD={len(words) - 1}
$(complete -p sentiment | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    ended = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return ended.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="THE COMPLETION IS NOT TESTED: there is no bash")
def test_bash_completes(tmp_path: Path) -> None:
    """Commands, their actions, flags and choices, by the script that the command writes; and no command that only the
    supervisor types."""
    command = [sys.executable, "-m", "app", "completion", "bash"]
    script = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert completed(script, "sentiment", "cl") == ["classify"]
    assert completed(script, "sentiment", "_") == []
    assert completed(script, "sentiment", "keys", "rev") == ["revoke"]
    assert completed(script, "sentiment", "models", "list", "--js") == ["--json"]
    assert completed(script, "sentiment", "classify", "--quoting", "n") == ["none"]
    (tmp_path / "reviews.csv").touch()
    assert completed(script, "sentiment", "classify", f"{tmp_path}/rev") == [f"{tmp_path}/reviews.csv"]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell: str) -> None:
    """All that the library writes for; each knows every command."""
    assert shell in shtab.SUPPORTED_SHELLS
    parser = cli._parser()
    parser.prog = "sentiment"
    script = completion(parser, shell)
    assert "train-reviews" in script
    assert "_worker" not in script
