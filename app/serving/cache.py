"""Cached results: their keys, a least-recently-used cache in the process, and how a result is written down.

Redis, which holds them for all processes, is in ``redis_cache.py``.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict

import msgpack

from app.sentiment import JUDGEMENTS, Prediction

VALUE_VERSION = 3
"""Version of the layout of cached values; part of every key."""

KEY_PREFIX = "sentiment:"
"""What every key in Redis begins with."""

_MAX_VALUE_BYTES = 65_536


class KeyMaker:
    """Keys that are equal exactly when the answers must be.

    Args:
        parts: everything beside the text that decides a score: the model's digest, runtime, precision.
        secret: makes keys that nobody can compute who does not know it; empty for none.
    """

    def __init__(self, *parts: str, secret: str = "") -> None:
        # BLAKE2b takes 64 bytes of a key at most; of a longer secret its digest stands for all of it.
        key = hashlib.blake2b(secret.encode("utf-8", "surrogateescape")).digest() if secret else b""
        self._base = hashlib.blake2b(digest_size=16, key=key)
        for part in (*parts, str(VALUE_VERSION)):
            encoded = part.encode()
            self._base.update(len(encoded).to_bytes(4, "big") + encoded)

    def __call__(self, text: str) -> bytes:
        """Key of a text: BLAKE2b (RFC 7693), keyed by the secret, over the parts and the text's raw UTF-8."""
        digest = self._base.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()


class MemoryCache:
    """Least-recently-used results, bounded by their number.

    Args:
        size: most results kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[bytes, Prediction] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: bytes) -> Prediction | None:
        """The result under ``key``, which becomes the most recently used."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: bytes, value: Prediction) -> None:
        """Keep a result; the least recently used one goes where there are too many."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._size:
            self._values.popitem(last=False)


def encode_value(key: bytes, value: Prediction) -> bytes:
    """A prediction as it is kept in Redis (MessagePack)."""
    encoded: bytes = msgpack.packb(
        [
            VALUE_VERSION,
            key,
            value.probabilities,
            value.tokens,
            value.truncated,
            value.rating,
            value.unknown,
            value.judgement,
        ],
        use_bin_type=True,
    )
    return encoded


def decode_value(key: bytes, raw: object, classes: int) -> Prediction | None:
    """The prediction in a value from Redis; None where it is anything but a well-formed one that belongs to the key."""
    if not isinstance(raw, bytes) or len(raw) > _MAX_VALUE_BYTES:
        return None
    try:
        version, of, probabilities, tokens, truncated, rating, unknown, judgement = msgpack.unpackb(raw)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    well_formed = (
        version == VALUE_VERSION
        and of == key
        and isinstance(probabilities, list)
        and len(probabilities) == classes
        and all(isinstance(value, float) and 0.0 <= value <= 1.0 for value in probabilities)
        and math.isclose(sum(probabilities), 1.0, abs_tol=1e-3)
        and type(tokens) is int
        and tokens >= 1
        and isinstance(truncated, bool)
        and (rating is None or (isinstance(rating, float) and 1.0 <= rating <= 10.0))
        and isinstance(unknown, float)
        and 0.0 <= unknown <= 1.0
        and judgement in JUDGEMENTS
    )
    return (
        Prediction(tuple(probabilities), tokens, truncated, True, rating, unknown, judgement) if well_formed else None
    )
