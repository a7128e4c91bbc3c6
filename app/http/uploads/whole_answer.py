"""An answer that is complete only in the end, such as a workbook: kept on the disk until then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from app.files.writing import Encoder

_PIECE_BYTES = 1 << 16


class WholeAnswer:
    """Takes what an encoder gives, then gives the file that it makes of it. Blocking; gone when it is closed.

    Args:
        encoder: makes the file.
        folder: where it lies meanwhile; None: where the system keeps such files.
    """

    def __init__(self, encoder: Encoder, folder: Path | None) -> None:
        self._encoder = encoder
        self._folder = TemporaryDirectory(dir=folder)
        self._partial = Path(self._folder.name) / "partial"
        self._file = self._partial.open("wb")

    def take(self, data: bytes) -> None:
        """Keep a part of what was encoded."""
        self._file.write(data)

    def pieces(self) -> Iterator[bytes]:
        """The file, when all is there."""
        self._file.close()
        out = self._partial.with_name("out")
        self._encoder.finish(self._partial, out)
        with out.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield piece

    def close(self) -> None:
        """Leave nothing on the disk."""
        with suppress(OSError):  # there may be no room for what was not written yet
            self._file.close()
        self._folder.cleanup()
