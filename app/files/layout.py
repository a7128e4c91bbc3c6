"""The format of a table in a file, and how the file is compressed, as its name tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePath

from app.errors import DataError

STANDARD = "-"
"""Standard input or output in the place of a path."""


class Format(StrEnum):
    """A format of tables."""

    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    JSON = "json"
    """One array of objects, or an object a line."""
    LINES = "lines"
    """Text, one a line."""
    XLSX = "xlsx"
    PARQUET = "parquet"


WORKBOOK_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
"""Media type of a workbook of Excel."""
WRITTEN = (Format.CSV, Format.TSV, Format.JSONL, Format.PARQUET, Format.XLSX)
"""Formats of results; the others are only read."""
DELIMITED = (Format.CSV, Format.TSV)
WHOLE_FILES = (Format.PARQUET, Format.XLSX)
"""Formats that are not read from front to back, and are compressed inside."""


class Compression(StrEnum):
    """What a file as a whole is compressed with."""

    NONE = ""
    GZIP = ".gz"
    BZIP2 = ".bz2"
    XZ = ".xz"
    ZSTD = ".zst"


_SUFFIXES = {
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".tab": Format.TSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSON,
    ".txt": Format.LINES,
    ".xlsx": Format.XLSX,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}
_NOT_READ = (".xls", ".xlsb", ".ods")
"""Spreadsheets that are to be saved as something else first."""
_COMPRESSIONS = [compression for compression in Compression if compression]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table lies in a file.

    Attributes:
        format: its format.
        compression: what the file is compressed with.
    """

    format: Format
    compression: Compression = Compression.NONE

    def __post_init__(self) -> None:
        if self.compression and self.format in WHOLE_FILES:
            raise DataError(f"{self.format} is compressed inside: it does not go into a {self.compression}")


def layout_of(path: str, given: str | None = None, fallback: Format | None = None, *, written: bool = False) -> Layout:
    """The layout that a file's name tells.

    Args:
        path: the file's name, or ``-``.
        given: a format that decides whatever the name says.
        fallback: the format where neither does.
        written: whether it is one of results.

    Raises:
        DataError: the name tells nothing, or what cannot be.
    """
    suffixes = [suffix.lower() for suffix in PurePath(path).suffixes]
    compression = Compression.NONE
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        compression = Compression(suffixes.pop())
    told = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    chosen = Format(given) if given else told or fallback
    option = "out_format" if written else "format"
    if suffixes and suffixes[-1] in _NOT_READ and given is None and not written:
        raise DataError(f"{path}: spreadsheets are read as .xlsx, not as {suffixes[-1]}; save it as .xlsx or CSV")
    if chosen is None:
        names = ", ".join(suffix for suffix, form in _SUFFIXES.items() if form in WRITTEN or not written)
        message = f"the name does not tell the format ({names}; {', '.join(_COMPRESSIONS)} behind it)"
        raise DataError(f"{path}: {message}", option)
    if written and chosen not in WRITTEN:
        raise DataError(f"{path}: results are written as {', '.join(WRITTEN)}, not as {chosen}", option)
    return Layout(chosen, compression)


def without_format(name: str) -> str:
    """A file's name without what tells its format and how it is compressed; other dots are part of it."""
    path = PurePath(name)
    if path.suffix.lower() in _COMPRESSIONS:
        path = path.with_suffix("")
    return path.stem if path.suffix.lower() in _SUFFIXES else path.name


def is_text(path: str, given: str | None = None) -> bool:
    """Whether what stands in the place of a path is a text itself: words, and neither a file nor the name of one."""
    if len(path.split()) < 2:
        return False
    try:
        if Path(path).exists():
            return False
    except OSError:
        return True  # too long for a name
    try:
        layout_of(path, given)
    except DataError:
        return True
    return False
