"""Zstandard by pyarrow, which is there for Parquet; Python itself has it from 3.14 on."""

from __future__ import annotations

import io
from typing import IO, cast

from app.errors import DataError

try:
    import pyarrow as pa
except ImportError as error:
    raise DataError(".zst needs pyarrow, which is not installed: install 'sentiment-service[files]'") from error


def decompress(file: IO[bytes]) -> IO[bytes]:
    """The bytes of a file before they were compressed; of several frames those of all."""
    return io.BufferedReader(cast("io.RawIOBase", pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")))


def compress(data: bytes) -> bytes:
    """One frame."""
    return cast("bytes", pa.Codec("zstd").compress(data, asbytes=True))
