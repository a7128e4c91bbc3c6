"""What the compiler makes of the kernel for GPUs; needs no GPU.

``python -m benchmarks.gpu_code [CAPABILITY]`` compiles it for 128 hidden units and a compute capability (90 is that of
an H100) and prints registers a thread, those spilled to memory and shared memory, each in bytes but the first.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from app.modeling.cuda import packing
from app.modeling.cuda.kernel import read_texts
from app.modeling.cuda.network import TILE_TEXTS, WARPS
from app.store import ModelConfig

_UNITS = 128
_OUTPUTS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capability", type=int, nargs="?", default=90)
    options = parser.parse_args()
    print("| cell | hidden units | registers | spilled | shared memory | reserved |\n|---|---|---|---|---|---|")
    for cell in ("gru", "lstm", "rnn"):
        compiled = compile_kernel(cell, options.capability)
        registers, spilled = resources(compiled.asm["cubin"])
        config = ModelConfig(
            architecture=cell,
            vocabulary_size=3,
            embedding_size=_UNITS,
            hidden_size=_UNITS,
            pooling=("last",),
            max_tokens=1,
            preprocessing=1,
        )
        reserved = packing.shared_memory(config)
        print(f"| {cell} | {_UNITS} | {registers} | {spilled} | {compiled.metadata.shared} | {reserved} |")


def compile_kernel(cell: str, capability: int) -> Any:
    """Triton's compiled kernel of a one-layer, one-direction network."""
    constants = {"CELL": cell, "H": _UNITS, "N": TILE_TEXTS, "D": 1, "O": _OUTPUTS, "LOOKUP": True, "LAST": True}
    pointers = {"starts": "*i32", "ids": "*i32", "inputs": "*fp16" if cell == "rnn" else "*i64", "recurrent": "*fp16"}
    pointers |= {"state_bias": "*fp32", "states": "*fp16", "head": "*fp32", "logits": "*fp32"}
    signature = {**pointers, "texts": "i32", "input_rows": "i32", **dict.fromkeys(constants, "constexpr")}
    aligned = {(place,): [["tt.divisibility", 16]] for place in range(len(pointers))}
    source = ASTSource(read_texts, signature, constexprs=constants, attrs=aligned)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": WARPS})


def resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of the stack, which is where registers are spilled to, of each thread."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(cubin)
        command = [knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        report = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", report)
    if not found:
        raise ValueError(f"cuobjdump reports nothing: {report[:200]}")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    main()
