"""Lines of a text file, decoded one by one so that a damaged one can be named."""

from __future__ import annotations

import io
import lzma
import re
import zlib
from collections.abc import Iterator
from typing import IO

from app.errors import DataError
from app.files.compression import decompressed
from app.files.layout import Layout

LONGEST_ROW = 16 << 20
"""Most bytes of one row, so that no file can fill the memory."""
TOO_LONG = f"a row of more than {LONGEST_ROW} bytes; is a quotation mark never closed?"
HEAD_BYTES = 65_536
"""Bytes at the start of a file by which it is seen what it is."""

_UTF8_MARK = b"\xef\xbb\xbf"
OLD_MARK = b"\xd0\xcf\x11\xe0"
OLD = "this is an old spreadsheet (.xls), or one with a password; save it as .xlsx or CSV, without a password"
_UTF_32, _UTF_16 = (f"this is {name}; save it as UTF-8 (in Excel: CSV UTF-8)" for name in ("UTF-32", "UTF-16"))
_READ_OTHERWISE = {b"PAR1": "this is Parquet", b"PK\x03\x04": "this is a spreadsheet (.xlsx) or an archive"}
_NOT_READ = {
    b"\xff\xfe\0\0": _UTF_32,
    b"\xff\xfe": _UTF_16,
    b"\xfe\xff": _UTF_16,
    b"\0\0\xfe\xff": _UTF_32,
    OLD_MARK: OLD,
    b"%PDF": "this is a PDF document; save its table as CSV",
    b"{\\rtf": "this is a document in RTF; save its table as CSV",
}
_WESTERN = "cp1252"
_UTF8_LETTER = rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
_NO_LETTER = rb"[\x00-\x08\x0e-\x1f\x81\x8d\x8f\x90\x9d]"
"""Bytes that are no character of a text in Windows-1252."""
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}
_MARKUP = re.compile(rb"\s*<(?:!doctype|html|\?xml|head|body|!--)", re.IGNORECASE)
_ZEROS = re.compile(rb"(?:\0[^\0]){2}|(?:[^\0]\0){2}")
"""UTF-16 without a mark: half of the bytes of each letter of English."""
_JSON = re.compile(rb'\s*(?:\{\s*"|\[\s*[{"\[])')


def _is_western(head: bytes) -> bool:
    """Whether bytes are a text in Windows-1252: no letter beyond ASCII is one of UTF-8, and no byte is without one.

    A file of UTF-8 with a damaged row has others that are whole.
    """
    head = head[:-3] if len(head) > HEAD_BYTES - 4 else head  # a letter may be cut
    if head.isascii() or re.search(_UTF8_LETTER, head):
        return False
    return not re.search(_NO_LETTER, head)


class RowError(DataError):
    """One row is not as it should be; the next ones can still be read.

    Attributes:
        raw: what stands there.
    """

    def __init__(self, message: str, raw: str, *options: str) -> None:
        super().__init__(message, "on_bad_row", *options)
        self.raw = raw


class TooLongError(DataError):
    """A row has more bytes than any may have."""


class Lines:
    """Iterates over the lines of a file. After a ``RowError`` it can be gone on with.

    Args:
        file: open for reading bytes.
        name: what messages call it.
        layout: format and compression.
        encoding: as Python calls it.
        guess: whether another one is guessed where the file is plainly not UTF-8, but was to be.

    Attributes:
        name: see above.
        encoding: see above, or the one that was guessed.
        guessed: for people, that it was; "" where it was not.
        number: lines given out so far.
        head: the first bytes, which are given out all the same.

    Raises (here and while iterating):
        DataError: damaged, or a row that is too long; names file and line.
        RowError: wrongly encoded.
    """

    def __init__(
        self, file: IO[bytes], name: str, layout: Layout, encoding: str = "utf-8", *, guess: bool = False
    ) -> None:
        self.number = 0
        self.name = name
        self.encoding = encoding
        self._row_bytes = 0
        self._file = decompressed(file, layout.compression)
        self.head = self._guarded_read(HEAD_BYTES)
        for marks, options in ((_READ_OTHERWISE, ("format",)), (_NOT_READ, ())):
            for mark, meaning in marks.items():
                if self.head.startswith(mark):
                    raise DataError(f"{name}: {meaning}", *options)
        if _ZEROS.match(self.head):
            raise DataError(f"{name}: {_UTF_16}")
        for mark, compression in _COMPRESSED.items():
            if self.head.startswith(mark):
                raise DataError(f"{name}: this is compressed with {compression}", "compression")
        if encoding == "utf-8":
            self.head = self.head.removeprefix(_UTF8_MARK)
        self.guessed = ""
        if guess and encoding == "utf-8" and _is_western(self.head):
            self.encoding, self.guessed = _WESTERN, ", Windows-1252 (a guess: it is not UTF-8)"
        self._ahead = io.BytesIO(self.head)

    def refuse_other_formats(self) -> None:
        """For formats that would take anything for a table.

        Raises:
            DataError: the first bytes are those of a web page or of JSON, or lines that end as no line does here.
        """
        if _MARKUP.match(self.head):
            raise DataError(f"{self.name}: this is a web page or XML, not a table", "format")
        if _JSON.match(self.head):
            raise DataError(f"{self.name}: this is JSON", "format")
        if b"\n" not in self.head and b"\r" in self.head.rstrip(b"\r"):
            raise DataError(f"{self.name}: lines end as on an old Mac; save it as UTF-8 (in Excel: CSV UTF-8)")

    def begin_row(self) -> None:
        """Say that what follows is another row."""
        self._row_bytes = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._ahead.readline()
        if not line.endswith(b"\n"):
            line += self._guarded_read(LONGEST_ROW + 1 - len(line), line=True)
        if not line:
            raise StopIteration
        self.number += 1
        self._row_bytes += len(line)
        if self._row_bytes > LONGEST_ROW:
            raise TooLongError(f"{self.name}, line {self.number}: {TOO_LONG}", "quoting")
        try:
            return line.decode(self.encoding)
        except UnicodeError as error:
            where = ""
            if isinstance(error, UnicodeDecodeError):
                where = f"byte {error.start + 1} (0x{line[error.start]:02x}) "
            raise self.row_error(
                f"{where}is not {self.encoding}; another encoding must be named",
                line.decode(self.encoding, "replace") if where else line.decode("latin-1"),
                options=("encoding",),
            ) from None

    def chunks(self) -> Iterator[bytes]:
        """All bytes, in the place of lines."""
        piece = self._ahead.read()
        while piece:
            yield piece
            piece = self._guarded_read(HEAD_BYTES)

    def error(self, message: str, line: int | None = None, options: tuple[str, ...] = ()) -> DataError:
        """An error at a line, the current one unless told otherwise."""
        return DataError(f"{self.name}, line {line or max(1, self.number)}: {message}", *options)

    def row_error(self, message: str, raw: str, line: int | None = None, options: tuple[str, ...] = ()) -> RowError:
        """Likewise, of one row; ``raw`` is what stands there."""
        return RowError(f"{self.name}, line {line or max(1, self.number)}: {message}", raw.rstrip("\r\n"), *options)

    def _guarded_read(self, size: int, *, line: bool = False) -> bytes:
        try:
            return self._file.readline(size) if line else self._file.read(size)
        except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            self.number += 1
            raise self.error(f"cannot be read ({error})") from error
