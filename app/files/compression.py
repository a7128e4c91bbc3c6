"""Compressed files: the bytes before compression, and members of a compressed file.

Zstandard is pyarrow's, which is there for Parquet; Python itself has it from 3.14 on.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import IO, cast

from app.errors import DataError
from app.files.layout import Compression

_GZIP_LEVEL = 6


def decompressed(file: IO[bytes], compression: Compression) -> IO[bytes]:
    """The bytes of a file before they were compressed; of several members those of all.

    Raises:
        DataError: what decompresses is not installed.
    """
    if compression is Compression.GZIP:
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if compression is Compression.BZIP2:
        return cast("IO[bytes]", bz2.BZ2File(file))
    if compression is Compression.XZ:
        return cast("IO[bytes]", lzma.LZMAFile(file))
    if compression is Compression.ZSTD:
        pyarrow = _pyarrow()
        stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, mode="r"), "zstd")
        return io.BufferedReader(cast("io.RawIOBase", stream))
    return file


def compressor(compression: Compression) -> Callable[[bytes], bytes]:
    """What makes one member of a compressed file of bytes.

    Raises:
        DataError: what compresses is not installed.
    """
    if compression is Compression.GZIP:
        # Without a time in the header: the same rows are the same bytes.
        return partial(gzip.compress, compresslevel=_GZIP_LEVEL, mtime=0)
    if compression is Compression.BZIP2:
        return bz2.compress
    if compression is Compression.XZ:
        return lzma.compress
    return cast("Callable[[bytes], bytes]", partial(_pyarrow().Codec("zstd").compress, asbytes=True))


def _pyarrow() -> ModuleType:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise DataError(".zst needs pyarrow, which is not installed: install 'sentiment-service[files]'") from error
    return cast("ModuleType", pa)
