"""Writes the lists beside it, of exact versions with hashes: ``make lock``, or ``make lock UPGRADE=1`` for newer ones.

All lists have the same versions, for every Python and system that is supported. PyTorch has three:

- ``torch.txt``: what torch needs anywhere.
- ``torch-cpu.txt``: torch of PyTorch's own index for the CPU. Where that cannot be reached, the hashes that are known
  are kept.
- ``torch-cuda.txt``: torch of the Python Package Index, and CUDA, which that one needs on Linux.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
PROJECT = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_CUDA = ("nvidia-", "cuda-")
_NOT_CUDA = "nvidia-ml-py"

Entries = dict[str, str]
"""Lines of a package, by its name."""


def main() -> None:
    """Write all lists."""
    base = PROJECT["project"]["dependencies"]
    build = PROJECT["build-system"]["requires"]
    torch = resolved("gpu")
    known = "" if "--upgrade" in sys.argv else "".join(path.read_text() for path in FOLDER.glob("*.txt"))
    every = [*base, *build, *torch, *resolved("dev"), *EXTRAS["compiler"]]
    chosen = "\n".join(compile_list(every, pins(known)).values())
    write("serve", compile_list(base, pins(chosen)))
    write("image", compile_list([*base, *resolved("files"), *resolved("traces")], pins(chosen)))
    write("build", compile_list(build, pins(chosen)))
    write("compiler", compile_list(EXTRAS["compiler"], pins(chosen)))
    with_torch = compile_list(torch, pins(chosen))
    cuda = {name: with_torch.pop(name) for name in list(with_torch) if is_cuda(name)}
    write("torch", with_torch)
    write("torch-cpu", {"torch": for_the_cpu(cuda["torch"])})
    write("torch-cuda", cuda)
    development = compile_list([*base, *build, *resolved("dev")], pins(chosen))
    write("dev", {name: lines for name, lines in development.items() if not is_cuda(name)})


def is_cuda(name: str) -> bool:
    """Whether a package is torch itself, or a part of CUDA."""
    return name in ("torch", "triton") or (name.startswith(_CUDA) and name != _NOT_CUDA)


def resolved(extra: str) -> list[str]:
    """What an extra asks for, with what other extras of this project that it names do."""
    found: list[str] = []
    for line in EXTRAS[extra]:
        own = re.fullmatch(r"sentiment-service\[(.*)\]", line)
        found += [wish for name in own[1].split(",") for wish in resolved(name)] if own else [line]
    return found


def pins(text: str) -> str:
    """The exact versions in a list, with their conditions, as constraints."""
    found = re.finditer(r"^[a-z0-9][^\n]*==[^\n]*", text, re.MULTILINE)
    return "\n".join(sorted({match[0].rstrip(" \\") for match in found if "+cpu" not in match[0]}))


def compile_list(wanted: Sequence[str], constraints: str, index: str | None = None) -> Entries:
    """Everything that is needed for what is wanted, with hashes."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(constraints)
        file.flush()
        options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
        options += ["--quiet", "--constraint", file.name, *(["--index", index] if index else [])]
        command = [sys.executable, "-m", "uv", "pip", "compile", *options, "-"]
        ended = subprocess.run(command, input="\n".join(wanted), stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    entries: Entries = {}
    for lines in re.split(r"\n(?=[a-z0-9])", ended.stdout.strip()):
        name = re.split(r"[=\[ ]", lines)[0]
        entries[name] = f"{entries[name]}\n{lines}" if name in entries else lines
    return entries


def for_the_cpu(lines: str) -> str:
    """The lines of torch of the index for the CPU, by those of the other one."""
    version = f"{re.split('[ ;]', lines)[0]}+cpu"
    try:
        return compile_list([version], "", CPU_INDEX)["torch"]
    except subprocess.CalledProcessError:
        path = FOLDER / "torch-cpu.txt"
        known = path.read_text(encoding="utf-8").strip()
        if not known.startswith(f"{version} "):
            raise SystemExit(f"{CPU_INDEX} must be reached for {version}") from None
        sys.stderr.write(f"{CPU_INDEX} CANNOT BE REACHED: {path.name} stays as it is\n")
        return known


def write(name: str, entries: Entries) -> None:
    """Write one list."""
    (FOLDER / f"{name}.txt").write_text("\n".join(entries.values()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
