"""Parquet, by pyarrow, which is imported only where there is Parquet: it is as large as the rest of the service.

A Parquet file cannot be continued, because its end describes all of it. So what is written piece by piece is a row of
Arrow streams, one per window, and ``finish`` makes the file out of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from app.errors import DataError
from app.files.options import OnBadRow
from app.files.results import KINDS, Result, ResultColumns
from app.files.table import (
    MOST_COLUMNS,
    WINDOW_CHARACTERS,
    WINDOW_ROWS,
    BadRows,
    Kind,
    Window,
    check_distinct,
    choose_text_path,
    plain_text,
)

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
except ImportError as error:
    raise DataError("Parquet needs pyarrow, which is not installed: install 'sentiment-service[files]'") from error

_ROW_GROUP_BYTES = 32 << 20
_LARGEST_COLUMN_CHUNK = 1 << 30
"""Most uncompressed bytes of one column of one row group: a page is decompressed as a whole."""
_READ_BYTES = 1 << 20
_TYPES = {Kind.INTEGER: pa.int64(), Kind.NUMBER: pa.float64(), Kind.BOOLEAN: pa.bool_()}


class BatchWindow:
    """Rows as an Arrow record batch. What cannot be a value in Python is a ``DataError`` where it is asked for."""

    def __init__(self, batch: Any, path: Sequence[str], name: str) -> None:
        self.batch = batch
        self._path = path
        self._name = name

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    @property
    def texts(self) -> list[object]:
        first, *rest = self._path
        column = self.batch.column(first)
        return self._values(first, pc.struct_field(column, rest) if rest else column)

    def values(self, columns: Sequence[str]) -> Sequence[Sequence[Any]]:
        return list(zip(*map(self._values, self.batch.schema.names, self.batch.columns), strict=True))

    def objects(self) -> Sequence[Mapping[str, Any]]:
        names = self.batch.schema.names
        return [dict(zip(names, row, strict=True)) for row in self.values(names)]

    def _values(self, name: str, column: Any) -> list[Any]:
        try:
            return _as_python(column)
        except UnicodeDecodeError as error:
            raise DataError(f"{self._name}: column {name!r} has text that is not UTF-8") from error
        except (ValueError, OverflowError) as error:
            raise DataError(f"{self._name}: column {name!r} has times in it that only Parquet can hold") from error


class ParquetTable:
    """A ``Table`` out of a Parquet file.

    Args:
        file: open for reading bytes, seekable.
        name: what messages call it.
        text_column: the column to classify; None chooses.

    Raises:
        DataError: not Parquet, damaged, too large a row group, of too many columns, or without that column.
    """

    def __init__(self, file: IO[bytes], name: str, text_column: str | None) -> None:
        self._name = name
        try:
            # Page by page: a column chunk as a whole may be the whole file.
            self._file = pq.ParquetFile(file, buffer_size=_READ_BYTES, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{name}: not a readable Parquet file ({_brief(error)})") from error
        self.schema = self._file.schema_arrow
        check_distinct(name, self.schema.names)
        if len(self.schema.names) > MOST_COLUMNS:
            raise DataError(f"{name}: {len(self.schema.names)} columns; the limit is {MOST_COLUMNS}")
        self.columns: Mapping[str, Kind] = dict.fromkeys(self.schema.names, Kind.MIXED)
        self.rows: int | None = self._file.metadata.num_rows
        self._path = choose_text_path(name, self.schema.names, text_column)
        self.text_column = ".".join(self._path)
        self.bad = BadRows(OnBadRow.ERROR)
        self.found = f"Parquet, {len(self.schema.names)} columns"
        self._check_type()
        self._check_row_groups()

    def windows(self, rows: int = WINDOW_ROWS, characters: int = WINDOW_CHARACTERS) -> Iterator[BatchWindow]:
        """See ``Table.windows``."""
        metadata = self._file.metadata
        size = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
        average = max(1, size // max(1, metadata.num_rows))
        done = 0
        try:
            for batch in self._file.iter_batches(max(1, min(rows, characters // average)), use_threads=False):
                yield BatchWindow(batch, self._path, self._name)
                done += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self._name}, after row {done}: cannot be read ({_brief(error)})") from error

    def _check_type(self) -> None:
        kind = self.schema.field(self._path[0]).type
        for name in self._path[1:]:
            index = kind.get_field_index(name) if pa.types.is_struct(kind) else -1
            if index < 0:
                raise DataError(f"{self._name}: no field {self.text_column!r}", "text_column")
            kind = kind.field(index).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        # Of a column without any value nobody knows that it was one of texts.
        may_be = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
        if not any(is_such(kind) for is_such in may_be):
            raise DataError(f"{self._name}: column {self.text_column!r} has {kind}, not text")

    def _check_row_groups(self) -> None:
        metadata = self._file.metadata
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            for column in range(group.num_columns):
                size = group.column(column).total_uncompressed_size
                if size > _LARGEST_COLUMN_CHUNK:
                    raise DataError(
                        f"{self._name}: row group {index + 1} has a column of {size} bytes; the limit is "
                        f"{_LARGEST_COLUMN_CHUNK}: write it with smaller row groups"
                    )


class ParquetEncoder:
    """Writes Parquet; see ``writing.Encoder``.

    Args:
        columns: the table's columns.
        results: the columns that are added.
        schema: the table's Arrow schema, where it has one.
    """

    def __init__(self, columns: Mapping[str, Kind], results: ResultColumns, schema: Any = None) -> None:
        self._columns = columns
        fields = schema or pa.schema([pa.field(name, _TYPES.get(kind, pa.string())) for name, kind in columns.items()])
        for base, name in results.names.items():
            fields = fields.append(pa.field(name, _TYPES.get(KINDS[base], pa.string())))
        self._schema = fields

    def head(self) -> bytes:
        return b""

    def encode(self, window: Window, results: Sequence[Result]) -> bytes:
        """One Arrow stream."""
        if isinstance(window, BatchWindow):
            arrays = list(window.batch.columns)
        else:
            arrays = [
                self._array(kind, column)
                for kind, column in zip(
                    self._columns.values(), zip(*window.values(list(self._columns)), strict=True), strict=True
                )
            ]
        added = self._schema.names[len(arrays) :]
        for name, column in zip(added, zip(*results, strict=True), strict=True):
            arrays.append(pa.array(column, self._schema.field(name).type))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema) as stream:
            stream.write_batch(pa.record_batch(arrays, schema=self._schema))
        return cast("bytes", sink.getvalue().to_pybytes())

    def finish(self, partial: Path, out: Path) -> None:
        """Make the Parquet file out of the Arrow streams."""
        with partial.open("rb") as file, pq.ParquetWriter(out, self._schema, compression="zstd") as writer:
            batches, size = [], 0
            for batch in _batches(file):
                batches.append(batch)
                size += batch.nbytes
                if size >= _ROW_GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(batches))
                    batches, size = [], 0
            if batches:
                writer.write_table(pa.Table.from_batches(batches))

    def _array(self, kind: Kind, column: Sequence[Any]) -> Any:
        if kind in _TYPES:
            return pa.array(column, _TYPES[kind])
        return pa.array(column if kind is Kind.TEXT else [plain_text(value) for value in column], pa.string())


def _batches(file: IO[bytes]) -> Iterator[Any]:
    end = file.seek(0, 2)
    file.seek(0)
    while file.tell() < end:
        with pa.ipc.open_stream(file) as stream:
            yield from stream


def _as_python(column: Any) -> list[Any]:
    """The values of a column; as text where Python's times, of microseconds and years up to 9999, cannot hold them.

    Raises:
        ValueError, OverflowError: such times are within other values, or text is none.
    """
    kind, unit = column.type, getattr(column.type, "unit", None)
    try:
        if unit == "ns":
            finest = pa.time64("us") if pa.types.is_time(kind) else pa.timestamp("us", getattr(kind, "tz", None))
            column = column.cast(pa.duration("us"), safe=False) if pa.types.is_duration(kind) else column.cast(finest)
        return cast("list[Any]", column.to_pylist())
    except (ValueError, OverflowError):  # the former also of what cannot be cast
        if pa.types.is_nested(kind):
            raise
        return cast("list[Any]", column.cast(pa.string()).to_pylist())


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
