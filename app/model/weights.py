"""The tensors of a stored version, checked: what every runtime starts from. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from app.errors import CheckpointError
from app.store import WEIGHTS_FILE, ModelConfig

Array: TypeAlias = "NDArray[np.float32]"

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
"""Gates of a cell: so many rows of weights for each hidden unit."""
RATING_STARS = 10

_DTYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}
"""What tensors may be stored as, by the name in the file, and as what numpy reads them, which knows no bfloat16."""


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of a checkpoint, in the order of the network's state dict."""
    hidden, gates = config.hidden_size, GATES[config.architecture]
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (config.vocabulary_size, config.embedding_size)}
    for layer in range(config.layers):
        inputs = hidden * config.directions if layer else config.embedding_size
        for direction in range(config.directions):
            prefix = f"recurrent.{layer}.{direction}."
            shapes[prefix + "weight_ih_l0"] = (gates * hidden, inputs)
            shapes[prefix + "weight_hh_l0"] = (gates * hidden, hidden)
            shapes[prefix + "bias_ih_l0"] = shapes[prefix + "bias_hh_l0"] = (gates * hidden,)
    outputs = {"output": 1 if config.output == "sigmoid" else len(config.labels)}
    if config.rating:
        outputs["rating"] = RATING_STARS
    for name, size in outputs.items():
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (size, config.features), (size,)
    return shapes


def read_weights(folder: Path, config: ModelConfig) -> dict[str, Array]:
    """A stored version's tensors in float32.

    Raises:
        CheckpointError: the file is unreadable, or see ``checked``.
    """
    path = folder / WEIGHTS_FILE
    try:
        stored = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file") from error
    weights = {}
    for name, tensor in stored:
        if tensor["dtype"] not in _DTYPES:
            raise CheckpointError(f"{path}: tensor {name} is stored as {tensor['dtype']}, must be {', '.join(_DTYPES)}")
        values = np.frombuffer(tensor["data"], dtype=_DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
        if tensor["dtype"] == "BF16":
            # The upper half of a float32.
            values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        weights[name] = values
    return checked(weights, config, path)


def checked(weights: Mapping[str, NDArray[np.floating[Any]]], config: ModelConfig, path: Path) -> dict[str, Array]:
    """Tensors as float32, in the order of the network's state dict.

    Args:
        weights: by name, in any floating-point type.
        config: what they are for.
        path: where they come from, for errors.

    Raises:
        CheckpointError: a tensor is missing, surplus, of another shape, or not finite in float32.
    """
    expected = expected_shapes(config)
    found = {}
    for name, shape in expected.items():
        if name not in weights:
            raise CheckpointError(f"{path}: tensor {name} is missing")
        if weights[name].shape != shape:
            raise CheckpointError(f"{path}: tensor {name} has shape {weights[name].shape}, expected {shape}")
        with np.errstate(over="ignore"):
            found[name] = weights[name].astype(np.float32)
        if not np.isfinite(found[name]).all():
            raise CheckpointError(f"{path}: tensor {name} has values that are not finite in float32")
    if surplus := sorted(weights.keys() - expected.keys()):
        raise CheckpointError(f"{path}: unexpected tensor {surplus[0]}")
    return found
