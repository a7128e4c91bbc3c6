"""A packed model in memory: a file without a name, which all engines of a version map, and so hold once together.

An engine that takes the place of one that died finds the weights there: read, checked and packed.

Layout: a mark, which is written last and without which there is nothing; the ``Model``; its ``Direction``s; the
tensors. What are pointers in the kernel's structures are distances from the file's beginning, 0 for none.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
from collections.abc import Callable
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.memory_file import alone, memory_file, write_at
from app.native.binding import Direction, Model, Variant
from app.native.packing import TABLE_LIMIT, Packing
from app.store import ModelConfig

_Weights: TypeAlias = "dict[str, NDArray[np.float32]]"

_LINE = 64
_MARK_BYTES = hashlib.sha256().digest_size
_MODEL_AT = _LINE
_DIRECTIONS_AT = _MODEL_AT + ctypes.sizeof(Model)
# Mapped with all its pages at once, where the system can, so that no text waits for them.
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)


class PackedModel:
    """One model's weights in the layout of one kernel variant; immutable, shared by any number of threads.

    Args:
        config: sizes.
        weights: as ``weights.read_weights`` returns them.
        variant: the kernel that will read them.
        table_limit: see ``packing.TABLE_LIMIT``.

    Raises:
        OverflowError: weights are too large for the variant's arithmetic.

    Attributes:
        model: what the kernel is called with. Its pointers live as long as this object.
        variant: as given.
    """

    def __init__(
        self, config: ModelConfig, weights: _Weights, variant: Variant, table_limit: int = TABLE_LIMIT
    ) -> None:
        file = memory_file("packed-model")
        try:
            _write(file, config, weights, variant, table_limit)
            self._map(file, config, variant)
        finally:
            os.close(file)

    @classmethod
    def shared(cls, file: int, name: str, config: ModelConfig, variant: Variant, read: Callable[[], _Weights]) -> Self:
        """The model that is packed in a file, or is now, where this process is the first.

        Args:
            file: an empty one at first, inherited by all processes that are to share it.
            name: of these weights: others have another one.
            config: sizes.
            variant: the kernel that will read them. Weights that were packed for another one are left alone, and
                packed a second time for this process.
            read: the weights, as ``weights.read_weights`` returns them.
        """
        mark = hashlib.sha256(f"{name} {variant.name}".encode()).digest()
        with alone(file):
            found = os.pread(file, _MARK_BYTES, 0)
            if found.strip(b"\0") and found != mark:
                return cls(config, read(), variant)
            if found != mark:
                _write(file, config, read(), variant, TABLE_LIMIT)
                os.pwrite(file, mark, 0)
        packed = cls.__new__(cls)
        packed._map(file, config, variant)  # noqa: SLF001 - its own class
        return packed

    def _map(self, file: int, config: ModelConfig, variant: Variant) -> None:
        self.variant = variant
        self._memory = mmap.mmap(file, 0, flags=mmap.MAP_SHARED | _POPULATE, prot=mmap.PROT_READ)
        base = np.frombuffer(self._memory, dtype=np.uint8).ctypes.data
        self.model = Model.from_buffer_copy(self._memory, _MODEL_AT)
        count = config.layers * config.directions
        self._directions = (Direction * count).from_buffer_copy(self._memory, _DIRECTIONS_AT)
        for structure in (self.model, *self._directions):
            for name, kind in structure._fields_:
                distance = getattr(structure, name)
                if kind is ctypes.c_void_p and distance is not None:
                    setattr(structure, name, base + distance)
        self.model.direction = self._directions


def _write(file: int, config: ModelConfig, weights: _Weights, variant: Variant, table_limit: int) -> None:
    """Everything but the mark."""
    end = _DIRECTIONS_AT + config.layers * config.directions * ctypes.sizeof(Direction)

    def keep(values: NDArray[Any]) -> int:
        nonlocal end
        start = -(-end // _LINE) * _LINE
        write_at(file, start, np.ascontiguousarray(values).data.cast("B"))
        end = start + values.nbytes
        return start

    packing = Packing(config, weights, variant, keep, table_limit)
    write_at(file, _MODEL_AT, memoryview(packing.model).cast("B"))
    write_at(file, _DIRECTIONS_AT, memoryview(packing.directions).cast("B"))
