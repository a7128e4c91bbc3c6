"""What travels between an HTTP worker and the engine: length-prefixed binary frames over a local stream socket.

Every frame is ``length:u32 kind:u8 body``, little-endian, ``length`` counting kind and body. Token ids travel, not
text. Both ends run the same version of this program on the same machine, so there is no version negotiation, and
deadlines are values of the machine-wide monotonic clock.

======== ======================================================================================================
kind     body
======== ======================================================================================================
HELLO    engine to worker, once, when ready: MessagePack map of model, digest, runtime, precision, device
SUBMIT   ``batches:u32 sent:f64 deadline:f64``, then per batch ``id:u32 texts:u32``, then tokens of each text as u32,
         then all token ids as i32
CANCEL   ids as u32
RESULT   ``queued:u32 texts_per_second:f64``, then MessagePack list of ``[id, scores]`` or ``[id, code]``, empty in a
         sign of life. Scores are a list of ``[probabilities, rating, computed]`` of each text, as ``Scores`` has them,
         or nil for a text that failed alone
======== ======================================================================================================
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgpack

from app.errors import DeadlineError, EngineUnavailableError, InferenceError, OverloadedError, ServiceError
from app.sentiment import TOKEN_TYPECODE, TextBatch

HELLO, SUBMIT, CANCEL, RESULT = range(1, 5)

ERRORS: dict[str, type[ServiceError]] = {
    error.code: error for error in (DeadlineError, EngineUnavailableError, InferenceError, OverloadedError)
}
"""The errors that travel, by code."""

MAX_FRAME = 256 * 1024 * 1024
"""Longest frame, in bytes; a peer that announces more is disconnected."""

_HEADER = struct.Struct("<IB")
_SUBMIT = struct.Struct("<Idd")
_RESULT = struct.Struct("<Id")
_ID_BYTES = 4


class FrameError(Exception):
    """The peer sent something that is no frame."""


class Submission(NamedTuple):
    """A decoded SUBMIT frame: ids and texts of each batch, when it was sent, one deadline for all."""

    ids: list[int]
    batches: list[TextBatch]
    sent: float
    deadline: float


class Results(NamedTuple):
    """A decoded RESULT frame."""

    queued: int
    texts_per_second: float
    entries: tuple[tuple[int, Any], ...]


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


def _frame(kind: int, *parts: bytes | array[int]) -> bytes:
    length = sum(len(part) if isinstance(part, bytes) else part.itemsize * len(part) for part in parts)
    return b"".join((_HEADER.pack(1 + length, kind), *parts))


def hello(model: str, digest: str, runtime: str, precision: str, device: str) -> bytes:
    """A HELLO frame."""
    fields = {"model": model, "digest": digest, "runtime": runtime, "precision": precision, "device": device}
    return _frame(HELLO, msgpack.packb(fields))


def read_hello(body: memoryview) -> dict[str, str]:
    """Decode a HELLO frame."""
    decoded: dict[str, str] = msgpack.unpackb(body)
    return decoded


def submit(ids: Sequence[int], batches: Sequence[TextBatch], sent: float, deadline: float) -> bytes:
    """A SUBMIT frame."""
    heads, lengths, tokens = array("I"), array("I"), array(TOKEN_TYPECODE)
    for number, batch in zip(ids, batches, strict=True):
        heads.extend((number, len(batch.lengths)))
        lengths.extend(batch.lengths)
        tokens.extend(batch.ids)
    return _frame(SUBMIT, _SUBMIT.pack(len(ids), sent, deadline), heads, lengths, tokens)


def read_submit(body: memoryview) -> Submission:
    """Decode a SUBMIT frame.

    Raises:
        FrameError: the lengths do not add up.
    """
    try:
        count, sent, deadline = _SUBMIT.unpack_from(body)
    except struct.error as error:
        raise FrameError("a submission is cut off") from error
    at = _SUBMIT.size
    heads, at = _numbers(body, at, 2 * count)
    lengths, at = _numbers(body, at, sum(heads[1::2]))
    if at + _ID_BYTES * sum(lengths) != len(body):
        raise FrameError("lengths of a submission do not add up")
    ids = array(TOKEN_TYPECODE, bytes(body[at:]))
    batches, first, start = [], 0, 0
    for texts in heads[1::2]:
        found = lengths[first : first + texts]
        end = start + sum(found)
        batches.append(TextBatch(ids[start:end], found))
        first, start = first + texts, end
    return Submission(heads[::2], batches, sent, deadline)


def _numbers(body: memoryview, at: int, count: int) -> tuple[list[int], int]:
    """So many u32 from a place on, and where they end."""
    end = at + _ID_BYTES * count
    if end > len(body):
        raise FrameError("lengths of a submission do not add up")
    return array("I", bytes(body[at:end])).tolist(), end


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
    return Results(queued, rate, msgpack.unpackb(body[_RESULT.size :], use_list=False))
