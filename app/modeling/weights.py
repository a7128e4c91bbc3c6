"""The tensors of a stored version, checked: what every runtime but torch starts from. Free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from app.errors import CheckpointError
from app.store import WEIGHTS_FILE, ModelConfig

Array: TypeAlias = "NDArray[np.float32]"

GATES = {"rnn": 1, "lstm": 4, "gru": 3}
"""Gates of a cell: so many rows of weights for each hidden unit."""
RATING_STARS = 10


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
        CheckpointError: the weights are unreadable, incomplete, of another shape, or not finite.
    """
    path = folder / WEIGHTS_FILE
    try:
        weights: dict[str, NDArray[Any]] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file") from error
    expected = expected_shapes(config)
    for name, shape in expected.items():
        if name not in weights:
            raise CheckpointError(f"{path}: tensor {name} is missing")
        if weights[name].shape != shape:
            raise CheckpointError(f"{path}: tensor {name} has shape {weights[name].shape}, expected {shape}")
        if not np.isfinite(weights[name]).all():
            raise CheckpointError(f"{path}: tensor {name} has values that are not finite")
    if surplus := sorted(weights.keys() - expected.keys()):
        raise CheckpointError(f"{path}: unexpected tensor {surplus[0]}")
    return {name: tensor.astype(np.float32) for name, tensor in weights.items()}
