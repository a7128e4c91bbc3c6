"""How a table lies in a file: format, compression, what separates values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from app.errors import DataError

STANDARD = "-"
"""Standard input or output in the place of a path."""


class Format(StrEnum):
    """A format of tables."""

    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    PARQUET = "parquet"


_SUFFIXES = {
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".tab": Format.TSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
}
_SUFFIXES |= {".parquet": Format.PARQUET, ".pq": Format.PARQUET}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table lies in a file.

    Attributes:
        format: its format.
        compressed: whether it is compressed with gzip.
        delimiter: what separates the values of a CSV file.
        encoding: of its text.
    """

    format: Format
    compressed: bool = False
    delimiter: str = ","
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise DataError(f"delimiter {self.delimiter!r}: must be one character, and no quotation mark or line end")
        _check_encoding(self.encoding)
        if self.compressed and self.format is Format.PARQUET:
            raise DataError("Parquet is compressed inside: it does not go into a .gz")

    @property
    def separator(self) -> str:
        """What separates values in a line."""
        return "\t" if self.format is Format.TSV else self.delimiter


def layout_of(
    path: str, given: str | None = None, fallback: Format | None = None, delimiter: str = ",", encoding: str = "utf-8"
) -> Layout:
    """The layout that a file's name tells.

    Args:
        path: the file's name, or ``-``.
        given: a format that decides whatever the name says.
        fallback: the format where neither does.
        delimiter: see ``Layout``.
        encoding: see ``Layout``.

    Raises:
        DataError: the name tells nothing, or an option is off.
    """
    suffixes = [suffix.lower() for suffix in PurePath(path).suffixes]
    compressed = bool(suffixes) and suffixes[-1] == ".gz"
    if compressed:
        suffixes.pop()
    told = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    chosen = Format(given) if given else told or fallback
    if chosen is None:
        raise DataError(f"{path}: the name does not tell the format ({', '.join(_SUFFIXES)}, each also .gz)")
    return Layout(chosen, compressed, delimiter, encoding)


def _check_encoding(encoding: str) -> None:
    # Lines are found by their bytes before they are decoded, and so a damaged one can be named.
    try:
        if "\n,".encode(encoding) == b"\n,":
            return
    except LookupError:
        pass
    raise DataError(f"encoding {encoding!r}: must be a known one in which ASCII stays ASCII, such as utf-8 or cp1252")
