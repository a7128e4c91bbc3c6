"""What travels between an HTTP worker and the engine: length-prefixed binary frames over a local stream socket.

Every frame is ``length:u32 kind:u8 body``, little-endian, ``length`` counting kind and body. Token ids travel, not
text. Both ends run the same version of this program on the same machine, so there is no version negotiation, and
deadlines are values of the machine-wide monotonic clock.

======== ======================================================================================================
kind     body
======== ======================================================================================================
HELLO    engine to worker, once, when ready: MessagePack map of model, digest, runtime, precision, device
SUBMIT   ``count:u32 sent:f64 deadline:f64``, then per text ``id:u32 tokens:u32``, then all token ids as i32
TABLE    ``id:u32 sent:f64 deadline:f64 texts:u32``, then tokens of each text as u32, then all token ids as i32: texts
         that are computed and answered together
CANCEL   ids as u32
RESULT   ``queued:u32 texts_per_second:f64``, then MessagePack list of ``[id, probabilities, rating]``, where traces are
         asked for followed by the times the forward pass began and ended, or ``[id, code]``; empty in a sign of life.
         Of a table, probabilities and ratings are those of all texts as f64
======== ======================================================================================================
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgpack

from app.errors import DeadlineError, EngineUnavailableError, InferenceError, OverloadedError, ServiceError
from app.sentiment import TOKEN_TYPECODE, TextTable, TokenIds

HELLO, SUBMIT, CANCEL, RESULT, TABLE = range(1, 6)

ERRORS: dict[str, type[ServiceError]] = {
    error.code: error for error in (DeadlineError, EngineUnavailableError, InferenceError, OverloadedError)
}
"""The errors that travel, by code."""

MAX_FRAME = 256 * 1024 * 1024
"""Longest frame, in bytes; a peer that announces more is disconnected."""

_HEADER = struct.Struct("<IB")
_SUBMIT = struct.Struct("<Idd")
_RESULT = struct.Struct("<Id")
_TABLE = struct.Struct("<IddI")
_ID_BYTES = 4


class FrameError(Exception):
    """The peer sent something that is no frame."""


class Submission(NamedTuple):
    """A decoded SUBMIT frame: ids and token ids of each text, when it was sent, one deadline for all."""

    ids: list[int]
    texts: list[TokenIds[int]]
    sent: float
    deadline: float


class TableSubmission(NamedTuple):
    """A decoded TABLE frame."""

    number: int
    table: TextTable
    sent: float
    deadline: float


class Results(NamedTuple):
    """A decoded RESULT frame."""

    queued: int
    texts_per_second: float
    entries: list[list[Any]]


class FrameReader:
    """Cuts a byte stream into frames.

    Args:
        handle: called with kind and body of each frame.
    """

    def __init__(self, handle: Callable[[int, memoryview], None]) -> None:
        self._handle = handle
        self._begun, self._needed = bytearray(), 0

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrive.

        Raises:
            FrameError: the stream is no sequence of frames.
        """
        if self._begun:
            self._begun += data
            if len(self._begun) < self._needed:
                return
            data, self._begun = bytes(self._begun), bytearray()
        at, self._needed = 0, _HEADER.size
        view = memoryview(data)
        while len(data) - at >= _HEADER.size:
            length, kind = _HEADER.unpack_from(data, at)
            if not 1 <= length <= MAX_FRAME:
                raise FrameError(f"frame of {length} bytes")
            end = at + _HEADER.size - 1 + length
            if len(data) < end:
                self._needed = end - at
                break
            self._handle(kind, view[at + _HEADER.size : end])
            at = end
        self._begun += view[at:]


def _frame(kind: int, *parts: bytes) -> bytes:
    return b"".join((_HEADER.pack(1 + sum(map(len, parts)), kind), *parts))


def hello(model: str, digest: str, runtime: str, precision: str, device: str) -> bytes:
    """A HELLO frame."""
    fields = {"model": model, "digest": digest, "runtime": runtime, "precision": precision, "device": device}
    return _frame(HELLO, msgpack.packb(fields))


def read_hello(body: memoryview) -> dict[str, str]:
    """Decode a HELLO frame."""
    decoded: dict[str, str] = msgpack.unpackb(body)
    return decoded


def submit(ids: Sequence[int], texts: Sequence[TokenIds[int]], sent: float, deadline: float) -> bytes:
    """A SUBMIT frame."""
    heads = array("I")
    for number, text in zip(ids, texts, strict=True):
        heads.append(number)
        heads.append(len(text))
    return _frame(SUBMIT, _SUBMIT.pack(len(ids), sent, deadline), heads.tobytes(), *(text.tobytes() for text in texts))


def read_submit(body: memoryview) -> Submission:
    """Decode a SUBMIT frame.

    Raises:
        FrameError: the lengths do not add up.
    """
    count, sent, deadline = _SUBMIT.unpack_from(body)
    at = _SUBMIT.size + 2 * _ID_BYTES * count
    heads = array("I", bytes(body[_SUBMIT.size : at]))
    texts = []
    for length in heads[1::2]:
        text = array(TOKEN_TYPECODE)
        text.frombytes(body[at : at + length * text.itemsize])
        at += length * text.itemsize
        texts.append(text)
    if at != len(body) or len(texts) != count:
        raise FrameError("lengths of a submission do not add up")
    return Submission(list(heads[::2]), texts, sent, deadline)


def submit_table(number: int, table: TextTable, sent: float, deadline: float) -> bytes:
    """A TABLE frame."""
    head = _TABLE.pack(number, sent, deadline, len(table.lengths))
    return _frame(TABLE, head, array("I", table.lengths).tobytes(), table.ids.tobytes())


def read_table(body: memoryview) -> TableSubmission:
    """Decode a TABLE frame.

    Raises:
        FrameError: the lengths do not add up.
    """
    number, sent, deadline, count = _TABLE.unpack_from(body)
    at = _TABLE.size + _ID_BYTES * count
    if at > len(body):
        raise FrameError("a table is cut off")
    lengths = array("I", bytes(body[_TABLE.size : at])).tolist()
    if at + _ID_BYTES * sum(lengths) != len(body):
        raise FrameError("lengths of a table do not add up")
    ids = array(TOKEN_TYPECODE)
    ids.frombytes(body[at:])
    return TableSubmission(number, TextTable(ids, lengths), sent, deadline)


def cancel(ids: Sequence[int]) -> bytes:
    """A CANCEL frame."""
    return _frame(CANCEL, array("I", ids).tobytes())


def read_cancel(body: memoryview) -> list[int]:
    """Decode a CANCEL frame."""
    return list(array("I", bytes(body)))


def results(queued: int, texts_per_second: float, entries: Sequence[Sequence[Any]]) -> bytes:
    """A RESULT frame."""
    return _frame(RESULT, _RESULT.pack(queued, texts_per_second), msgpack.packb(entries))


def read_results(body: memoryview) -> Results:
    """Decode a RESULT frame."""
    queued, rate = _RESULT.unpack_from(body)
    return Results(queued, rate, msgpack.unpackb(body[_RESULT.size :]))
