"""The compiled kernel as Python sees it: which variants this processor can run, and the call.

Nothing here raises at import; where there is no library, ``precisions`` is empty and the caller takes another runtime.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.native.compiler import KERNEL

_CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Variant:
    """One compilation of the kernel.

    Attributes:
        name: as in ``compiler.py``; the exported function is ``forward_<name>``.
        precision: ``float32`` or ``bfloat16``.
        width: W, floats in a register: the packing depends on it.
        multiple: what a product runs over is padded to multiples of it, itself a multiple of the width.
        needs: what the processor must have, in the words of ``/proc/cpuinfo``.
    """

    name: str
    precision: str
    width: int
    multiple: int
    needs: frozenset[str]


_AVX512_BF16 = frozenset(["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_bf16", "fma", "f16c"])
# Fastest first.
_VARIANTS = (
    Variant("amx", "bfloat16", 16, 32, _AVX512_BF16 | {"amx_tile", "amx_bf16"}),
    Variant("avx512bf16", "bfloat16", 16, 16, _AVX512_BF16),
    Variant("avx512", "float32", 16, 16, frozenset(["avx512f", "fma"])),
    Variant("avx2", "float32", 8, 8, frozenset(["avx2", "fma"])),
    Variant("portable", "float32", 4, 4, frozenset()),
)


class Direction(ctypes.Structure):
    """``struct direction`` of ``model.h``."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("table", "input", "input_bias", "recurrent", "state_bias")]


class Model(ctypes.Structure):
    """``struct model`` of ``model.h``."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("cell", "hidden", "state_size", "embedding_size")),
        *((name, ctypes.c_int32) for name in ("directions", "layers", "outputs", "poolings")),
        ("pooling", ctypes.c_int32 * 3),
        ("embedding", ctypes.c_void_p),
        ("direction", ctypes.POINTER(Direction)),
        ("head", ctypes.c_void_p),
        ("head_bias", ctypes.c_void_p),
    ]


def precisions(library: Path = KERNEL.path) -> list[str]:
    """Precisions the kernel computes natively on this processor, fastest first; empty without a usable library."""
    return list(dict.fromkeys(variant.precision for variant in variants(library)))


def variants(library: Path = KERNEL.path) -> list[Variant]:
    """Variants this processor can run, fastest first; empty without a usable library."""
    if not KERNEL.is_current(library):
        return []
    try:
        exported = _open(library)
    except OSError:  # built for another system
        return []
    flags = _processor_flags()
    usable = [v for v in _VARIANTS if v.needs <= flags and hasattr(exported, f"forward_{v.name}")]
    # Linux gives a process the tile registers only when it asks for them.
    return [v for v in usable if v.name != "amx" or exported.allow_amx()]


def forward(
    variant: Variant, model: Model, ids: NDArray[np.int32], starts: NDArray[np.int64], library: Path = KERNEL.path
) -> NDArray[np.float32]:
    """Logits (B, O) of B texts; releases the interpreter lock. Safe to call from several threads at once.

    Args:
        variant: one of ``variants()``, the one ``model`` was packed for.
        model: a packed model.
        ids: all texts' token ids one after the other, each within the vocabulary; the kernel does not check.
        starts: (B + 1,) where each text starts in ``ids``, and the end of the last. No text is empty.

    Raises:
        MemoryError: no room for the states of these texts.
    """
    logits = np.empty((len(starts) - 1, model.outputs), dtype=np.float32)
    function = _function(library, variant.name)
    if function(ctypes.byref(model), len(logits), ids.ctypes.data, starts.ctypes.data, logits.ctypes.data):
        raise MemoryError("no memory for the states of this batch")
    return logits


@lru_cache
def _open(library: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(library))


@lru_cache
def _function(library: Path, variant: str) -> ctypes._NamedFuncPointer:
    function: ctypes._NamedFuncPointer = getattr(_open(library), f"forward_{variant}")
    function.argtypes = [ctypes.POINTER(Model), ctypes.c_int64, *[ctypes.c_void_p] * 3]
    function.restype = ctypes.c_int
    return function


@lru_cache
def _processor_flags() -> frozenset[str]:
    """What the processor and the operating system together offer; empty where there is no ``/proc/cpuinfo``."""
    try:
        lines: Iterable[str] = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split()) for line in lines if line.startswith("flags")), frozenset())
