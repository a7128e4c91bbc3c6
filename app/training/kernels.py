"""Compiles and binds ``kernels.c``: the inner loops of training on the CPU."""

from __future__ import annotations

import ctypes
import tempfile
from functools import lru_cache
from pathlib import Path

from app.native.compiler import BuildError, find_compiler, run_compiler

_SOURCE = Path(__file__).with_name("kernels.c")
# Parameters of mallopt(3): how many requests are mapped, and so given back, on their own; how much free heap is kept.
_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1
# No -ffast-math: sums keep their order, so that a run can be repeated to the bit.
_FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")


@lru_cache
def library() -> ctypes.CDLL | None:
    """The compiled loops, built for this very processor at the first call; None where there is no compiler."""
    try:
        command = find_compiler()
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "kernels.so"
            run_compiler([*command, *_FLAGS, str(_SOURCE), "-o", str(target), "-lm"])
            return ctypes.CDLL(str(target))
    except (BuildError, OSError):
        return None


def keep_memory() -> None:
    """Let the allocator keep what is freed, where it is glibc's.

    A step of training allocates and frees hundreds of megabytes; to have the system clear them anew each time takes a
    third of the time.
    """
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)
    if adjust is not None:
        adjust(_M_MMAP_MAX, 0)
        adjust(_M_TRIM_THRESHOLD, (1 << 31) - 1)
