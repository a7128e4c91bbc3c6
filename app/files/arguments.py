"""``ReadOptions`` as flags of a command."""

from __future__ import annotations

import argparse
import glob
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from app.errors import DataError, OptionError
from app.files.layout import STANDARD, Format
from app.files.options import OnBadRow, Quoting, ReadOptions

READ_NAMES = ".csv, .tsv, .jsonl, .json, .txt, .xlsx, .parquet; .csv.gz, .csv.zst and such"
_REMEDIES = {"compression": "a name that ends in .gz, .bz2, .xz or .zst"}
"""What helps where no flag does."""


def add_read_arguments(parser: argparse._ActionsContainer, what: str, bad_rows: tuple[OnBadRow, ...]) -> None:
    """Add the flags that say how a file is read.

    Args:
        parser: takes them.
        what: what the help calls the file.
        bad_rows: what may become of rows that are not as they should be.
    """
    parser.add_argument(
        "--text-column",
        metavar="COLUMN",
        help="of the texts; in JSON also review.text (default: as found)",
    )
    _add_choice(parser, "--format", "FORMAT", tuple(map(str, Format)), None)
    parser.add_argument("--delimiter", metavar="CHAR", help="of CSV and TSV; '\\t' is a tab (default: as found)")
    parser.add_argument("--encoding", metavar="NAME", default="utf-8", help=f"of {what} (default: %(default)s)")
    parser.add_argument("--no-header", action="store_true", help="the first row is one like the others")
    _add_choice(parser, "--quoting", "HOW", tuple(map(str, Quoting)), Quoting.STANDARD)
    _add_choice(parser, "--on-bad-row", "WHAT", tuple(map(str, bad_rows)), OnBadRow.ERROR)
    parser.add_argument("--keep-na", action="store_true", help="take NA, None, null and - as they stand")


def _add_choice(
    parser: argparse._ActionsContainer, flag: str, name: str, choices: Sequence[str], default: str | None
) -> None:
    said = f"{', '.join(choices[:-1])} or {choices[-1]}" + (" (default: %(default)s)" if default else "")
    parser.add_argument(flag, choices=choices, metavar=name, default=default, help=said)


def read_options(args: argparse.Namespace) -> ReadOptions:
    """The options behind parsed flags.

    Raises:
        OptionError: one of them cannot be.
    """
    return ReadOptions(**{field.name: getattr(args, field.name) for field in fields(ReadOptions)})


def expanded(given: Sequence[str]) -> list[str]:
    """Paths of files, in the place of the patterns that no shell has replaced.

    Raises:
        DataError: one of them is no file, and no pattern of any.
    """
    paths: list[str] = []
    for path in given:
        if path != STANDARD and Path(path).is_dir():
            raise DataError(f"{path or repr(path)}: a folder; its files are named, such as '{Path(path) / '*.csv'}'")
        if path == STANDARD or Path(path).exists():
            paths.append(path)
        elif found := sorted(glob.glob(path, recursive=True)):  # noqa: PTH207 - patterns may be absolute
            paths += found
        else:
            raise DataError(f"{path}: there is no such file")
    return list(dict.fromkeys(paths))


def flags_of(options: ReadOptions) -> list[str]:
    """The flags that say the same, those that need not be given left out."""
    flags: list[str] = []
    for field in fields(ReadOptions):
        value = getattr(options, field.name)
        if value != field.default:
            flags += [flag_of(field.name)] if value is True else [flag_of(field.name), str(value)]
    return flags


def explained(error: Exception) -> str:
    """An error's message for people at a command line, with the flags that may help."""
    if isinstance(error, OptionError):
        return f"{flag_of(error.option)}: {error.message}"
    if isinstance(error, DataError) and error.options:
        return f"{error} (see {', '.join(_REMEDIES.get(option) or flag_of(option) for option in error.options)})"
    return str(error)


def flag_of(option: str) -> str:
    """What an option is called at a command line."""
    return f"--{option.replace('_', '-')}"
