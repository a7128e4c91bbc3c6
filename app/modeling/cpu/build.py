"""Compiles the kernel, once per kind of CPU, with whatever C compiler there is.

``python -m app.modeling.cpu.build`` is part of ``make install``. A machine without a compiler can have one from a
wheel (``pip install ziglang``). Without the libraries the service falls back to torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("kernel.c")
_COMPILE_SECONDS = 300
_COMMON = ["-O3", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared"]
_AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma"]


@dataclass(frozen=True)
class Variant:
    """One compilation of the kernel.

    Attributes:
        name: part of the library's file name.
        precision: arithmetic of the recurrent product.
        needs: CPU flags, as Linux names them, that it needs.
        flags: for the compiler.
    """

    name: str
    precision: str
    needs: frozenset[str]
    flags: tuple[str, ...]

    @property
    def library(self) -> Path:
        """The compiled library."""
        return SOURCE.with_name(f"_kernel_{self.name}.so")


_X86_VARIANTS = [
    Variant(
        "avx512bf16",
        "bfloat16",
        frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq", "fma", "avx512_bf16"}),
        (*_AVX512, "-mavx512bf16", "-DBFLOAT16"),
    ),
    Variant("avx512", "float32", frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq", "fma"}), tuple(_AVX512)),
    Variant("avx2", "float32", frozenset({"avx2", "fma"}), ("-mavx2", "-mfma")),
]
_PORTABLE = Variant("portable", "float32", frozenset(), ())


def variants() -> list[Variant]:
    """Variants that make sense on this kind of machine, fastest first."""
    return [*_X86_VARIANTS, _PORTABLE] if platform.machine() in ("x86_64", "AMD64") else [_PORTABLE]


def usable_variants() -> list[Variant]:
    """Variants that are compiled and that this CPU can run, fastest first."""
    flags = _cpu_flags()
    return [variant for variant in variants() if variant.needs <= flags and variant.library.exists()]


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def find_compiler() -> list[str] | None:
    """The command of a C compiler: ``$CC``, one on the path, or the one of the ``ziglang`` wheel."""
    if command := os.environ.get("CC"):
        return shlex.split(command)
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    return None


def compile_variant(variant: Variant, compiler: list[str], target: Path) -> None:
    """Compile one variant into ``target``, atomically.

    Raises:
        RuntimeError: the compiler failed; carries what it said.
    """
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    command = [*compiler, *_COMMON, *variant.flags, "-o", str(temporary), str(SOURCE)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)  # noqa: S603
    if ended.returncode:
        temporary.unlink(missing_ok=True)
        raise RuntimeError(f"{shlex.join(command)}\n{ended.stderr}")
    temporary.replace(target)


def main() -> int:
    """Compile what is missing or out of date. Returns an exit status."""
    compiler = find_compiler()
    if compiler is None:
        print("no C compiler: the forward pass will run on torch (pip install ziglang brings one)")
        return 0
    stamp = SOURCE.with_name("_kernel.stamp")
    expected = hashlib.sha256(SOURCE.read_bytes() + repr((compiler, _COMMON, variants())).encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == expected and all(variant.library.exists() for variant in variants()):
        return 0
    for variant in variants():
        try:
            compile_variant(variant, compiler, variant.library)
        except RuntimeError as error:
            print(f"could not compile the {variant.name} kernel:\n{error}", file=sys.stderr)
            return 1
    stamp.write_text(expected)
    print(f"compiled the kernel: {', '.join(variant.name for variant in variants())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
