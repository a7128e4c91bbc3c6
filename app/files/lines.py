"""Lines of a text file, decoded one by one so that a damaged one can be named."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import IO

from app.errors import DataError
from app.files.layout import Layout

LONGEST_ROW = 16 << 20
"""Most bytes of one row, so that no file can fill the memory."""

_UTF8_MARK = b"\xef\xbb\xbf"
_FOREIGN = {
    b"PAR1": "this is Parquet",
    b"\x1f\x8b": "this is compressed with gzip; such files are named .gz",
    b"\xff\xfe": "this is UTF-16; save it as UTF-8",
    b"\xfe\xff": "this is UTF-16; save it as UTF-8",
    b"PK\x03\x04": "this is a spreadsheet or an archive; save it as CSV",
}


class Lines:
    """Iterates over the lines of a file.

    Args:
        file: open for reading bytes.
        name: what messages call it.
        layout: encoding and compression.

    Attributes:
        number: lines given out so far.

    Iterating raises ``DataError``, naming file and line: damaged, wrongly encoded, or a row that is too long.
    """

    def __init__(self, file: IO[bytes], name: str, layout: Layout) -> None:
        self.number = 0
        self._file: IO[bytes] = gzip.GzipFile(fileobj=file) if layout.compressed else file  # type: ignore[assignment]
        self._name = name
        self._encoding = layout.encoding
        self._row_bytes = 0

    def begin_row(self) -> None:
        """Say that what follows is another row."""
        self._row_bytes = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._read():
            self.number += 1
            self._row_bytes += len(line)
            if self._row_bytes > LONGEST_ROW:
                raise self.error(f"a row of more than {LONGEST_ROW} bytes; is a quotation mark never closed?")
            if self.number == 1:
                line = self._without_mark(line)
            try:
                yield line.decode(self._encoding)
            except UnicodeDecodeError as error:
                byte = line[error.start]
                raise self.error(
                    f"byte {error.start + 1} (0x{byte:02x}) is not {self._encoding}; another encoding must be named"
                ) from None

    def error(self, message: str, line: int | None = None) -> DataError:
        """An error at a line, the current one unless told otherwise."""
        return DataError(f"{self._name}, line {line or max(1, self.number)}: {message}")

    def _read(self) -> bytes:
        try:
            return self._file.readline(LONGEST_ROW + 1)
        except (EOFError, OSError, zlib.error) as error:
            self.number += 1
            raise self.error(f"cannot be read ({error})") from error

    def _without_mark(self, line: bytes) -> bytes:
        for mark, meaning in _FOREIGN.items():
            if line.startswith(mark):
                raise DataError(f"{self._name}: {meaning}")
        return line.removeprefix(_UTF8_MARK) if self._encoding.lower().replace("-", "") == "utf8" else line
