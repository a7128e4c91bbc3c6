"""Compiles what is written in C: ``python -m app.native.compiler``.

The compiler is ``$CC``, else ``cc``, ``gcc`` or ``clang``, else the one in the ``ziglang`` wheel, which needs nothing
from the system. Where speed depends on the processor's instructions, the source is compiled once per variant, each with
its own instruction set, into one library; nothing is tuned to the machine that builds. A library carries a digest of
its sources and of the command: one that is up to date is left alone, and one of other sources is never loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

_HERE = Path(__file__).parent
_FLAGS = ("-std=gnu11", "-O3", "-g0", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra")
_STRICT = ("-Werror",)
_AVX512_BF16 = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512bf16", "-mfma", "-mf16c")


@dataclass(frozen=True)
class Library:
    """A shared library beside the Python module that loads it.

    Attributes:
        path: the library.
        sources: files in the same folder; the first is compiled, the others are included by it.
        x86_variants: compiler flags of each processor variant beside ``portable``, where the processor is an x86-64.
    """

    path: Path
    sources: tuple[str, ...]
    x86_variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def variants(self) -> dict[str, tuple[str, ...]]:
        """Compiler flags by variant, on this kind of processor."""
        x86 = platform.machine() in ("x86_64", "AMD64")
        return {**(self.x86_variants if x86 else {}), "portable": ()}

    def digest(self) -> str:
        """Digest of the sources: the first half of the key in a library built from them."""
        return _digest(b"\0".join((self.path.parent / source).read_bytes() for source in self.sources))

    def is_current(self, path: Path | None = None) -> bool:
        """Whether the library (at ``path``, where that is another place) is there and of these sources."""
        return (_key_of(path or self.path) or "").split("-")[0] == self.digest()


KERNEL = Library(
    _HERE / "_kernel.so",
    ("forward.c", "texts.h", "tiles.h", "vectors.h", "model.h"),
    {
        "amx": (*_AVX512_BF16, "-mamx-tile", "-mamx-bf16"),
        "avx512bf16": _AVX512_BF16,
        "avx512": ("-mavx512f", "-mfma"),
        "avx2": ("-mavx2", "-mfma"),
    },
)
"""The forward pass."""

WORDS = Library(_HERE / "_words.so", ("words.c",))
"""The tokenizer's plain path."""


class BuildError(Exception):
    """The library could not be built. The message says what to do or what the compiler said."""


def main() -> int:
    """Build where needed, say what was done; the process's exit status."""
    try:
        command = find_compiler()
        for library in (KERNEL, WORDS):
            built = build(library, command)
            sys.stdout.write(f"{library.path}: {'built with ' + shlex.join(command) if built else 'up to date'}\n")
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def build(library: Library, command: Sequence[str], path: Path | None = None) -> bool:
    """Compile and link a library unless it is up to date; the file appears at once or not at all.

    A compiler that warns of something may still build it.

    Args:
        library: what to build.
        command: a C compiler and its first arguments, as ``find_compiler`` returns it.
        path: the file to write, where it is not the library's own.

    Returns:
        whether it had to be built.

    Raises:
        BuildError: the compiler failed, or the folder cannot be written.
    """
    path = path or library.path
    if _key_of(path) in (_key(library, command, _STRICT), _key(library, command, ())):
        return False
    try:
        _build(library, command, path, _STRICT)
    except BuildError:
        _build(library, command, path, ())
    return True


def is_without_warning(library: Library, command: Sequence[str], path: Path | None = None) -> bool:
    """Whether the library was built by this command, which had nothing to warn of."""
    return _key_of(path or library.path) == _key(library, command, _STRICT)


def _build(library: Library, command: Sequence[str], path: Path, extra: Sequence[str]) -> None:
    variants, key = library.variants, _key(library, command, extra)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as folder:

            def compiled(variant: str) -> str:
                defines = [f"-DVARIANT={variant}", f"-DVARIANT_{variant}"]
                if variant == "portable":
                    defines.append(f'-DSOURCES="{key}"')
                source, made = str(library.path.parent / library.sources[0]), f"{folder}/{variant}.o"
                run_compiler([*command, *_FLAGS, *extra, *variants[variant], *defines, "-c", source, "-o", made])
                return made

            with ThreadPoolExecutor(os.cpu_count()) as threads:
                objects = list(threads.map(compiled, variants))
            linked = Path(folder) / "linked.so"
            run_compiler([*command, *extra, "-shared", *objects, "-o", str(linked)])
            linked.replace(path)
    except OSError as error:
        raise BuildError(f"{path.parent}: cannot be written ({error.strerror})") from error


def find_compiler(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The C compiler to use, as a command.

    Raises:
        BuildError: there is none.
    """
    if environment.get("CC"):
        return shlex.split(environment["CC"])
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name, path=environment.get("PATH")):
            return [path]
    if importlib.util.find_spec("ziglang") is not None:
        # Without a target it would build for this very processor.
        return [sys.executable, "-m", "ziglang", "cc", "-target", f"{platform.machine()}-linux-gnu"]
    raise BuildError("no C compiler: install gcc or clang, or `pip install ziglang`, or name one in CC")


def _key(library: Library, command: Sequence[str], extra: Sequence[str]) -> str:
    """What is written into a library that is built of these sources, by this command."""
    return f"{library.digest()}-{_digest(repr((list(command), _FLAGS, library.variants, tuple(extra))).encode())}"


def _key_of(library: Path) -> str | None:
    """What the library says it was built from; read from the file, so that nothing is loaded."""
    try:
        match = re.search(rb"SOURCES=([0-9a-f]{32}-[0-9a-f]{32})\0", library.read_bytes())
    except OSError:
        return None
    return match[1].decode() if match else None


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def run_compiler(command: list[str]) -> None:
    """Run a compiler's command line.

    Raises:
        BuildError: it failed; with what it said.
    """
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user's own compiler
    except OSError as error:
        raise BuildError(f"{command[0]}: cannot be run ({error.strerror})") from error
    if result.returncode:
        raise BuildError(f"{shlex.join(command)} failed:\n{result.stderr.strip()}")


if __name__ == "__main__":
    sys.exit(main())
