"""How the commands look at a terminal: help that fits a screen, and what a shell completes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh", "fish")
"""Those whose completion can be written."""

_WIDEST_FLAG = 28
"""Columns up to which help stands beside its flag instead of below it."""
_FILES = frozenset({"inputs", "out", "report"})
"""Arguments that name files, beside those whose type says so."""


class Parser(argparse.ArgumentParser):
    """A parser, and the parsers of its subcommands, whose help fits a screen."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Formatter, **options})


class _Formatter(argparse.HelpFormatter):
    """Flags are listed once, with what they do, and not in the line of usage before."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_WIDEST_FLAG)

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        actions = list(actions)
        needed = [action for action in actions if action.required or not action.option_strings]
        if len(needed) < len(actions):
            needed.insert(0, argparse.Action(["[options]"], "options", nargs=0, required=True))
        super().add_usage(usage, needed, [], prefix)


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """A script that makes a shell complete the commands and flags of a parser, and files where one is meant.

    Args:
        parser: of all commands; its ``prog`` is what people type.
        shell: one of ``SHELLS``.
    """
    import shtab  # needed by this command alone

    for action in _actions(parser):
        if action.type is Path or action.dest in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments of a parser and of its subcommands."""
    for action in parser._actions:  # noqa: SLF001 - there is no other way to ask
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                yield from _actions(child)
