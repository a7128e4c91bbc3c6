"""What a person may say about a file that is read; what is not said, its name and its first lines tell."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from enum import StrEnum

from app.errors import OptionError
from app.files.layout import Format


class OnBadRow(StrEnum):
    """What becomes of a row that is not as it should be."""

    ERROR = "error"
    """The whole file is refused."""
    SKIP = "skip"
    """It is left out, and counted."""
    MARK = "mark"
    """It gets an error of its own; what stood there is kept in the text column."""


class Quoting(StrEnum):
    """What quotation marks of CSV and TSV are."""

    STANDARD = "standard"
    """They enclose values (RFC 4180)."""
    NONE = "none"
    """Characters like others."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a file is read. The names are those of the command line (``--no-header``) and of HTTP (``no_header``).

    Attributes:
        text_column: the column with the texts, of JSON also a path such as ``review.text``; None chooses.
        format: of the file; None is what its name tells.
        delimiter: between the values of CSV and TSV; None finds it in the first lines.
        encoding: of its text.
        no_header: whether the first row of CSV, TSV or XLSX is one like the others.
        quoting: of CSV and TSV.
        on_bad_row: see ``OnBadRow``.
        keep_na: whether cells such as ``NA`` and ``null`` are texts.

    Raises:
        OptionError: one of them cannot be.
    """

    text_column: str | None = None
    format: Format | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"
    no_header: bool = False
    quoting: Quoting = Quoting.STANDARD
    on_bad_row: OnBadRow = OnBadRow.ERROR
    keep_na: bool = False

    def __post_init__(self) -> None:
        # As people type a tab in a shell or an address.
        delimiter = "\t" if self.delimiter == "\\t" else self.delimiter
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
            raise OptionError(
                "delimiter", f"must be one character, and no quotation mark or line end (got {delimiter[:20]!r})"
            )
        object.__setattr__(self, "delimiter", delimiter)
        object.__setattr__(self, "encoding", _known_encoding(self.encoding))
        # Flags of a command are plain words.
        for name, kind in (("format", Format), ("quoting", Quoting), ("on_bad_row", OnBadRow)):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, kind(given))


def _known_encoding(name: str) -> str:
    """An encoding by the one of its names that Python calls it by."""
    # Lines are found by their bytes before they are decoded, and so a damaged one can be named.
    try:
        # A byte order mark is no part of the text, whatever it is called.
        known = codecs.lookup(name).name.removesuffix("-sig")
        if "\n,".encode(known) == b"\n," and b"\n,".decode(known, "replace") == "\n,":
            return known
    except (LookupError, ValueError):
        pass
    message = f"must be a known one in which ASCII stays ASCII, such as utf-8 or cp1252 (got {name[:40]!r})"
    raise OptionError("encoding", f"{message}; a file in another one is to be saved as UTF-8 first")
