"""Checkpoints: a network's weights to and from the model store, and from somebody else's torch state dict."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from app.errors import CheckpointError
from app.modeling.networks import SentimentNetwork
from app.store import CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE, ModelConfig, write_config
from app.text.tokenizer import Tokenizer


def save_checkpoint(folder: Path, network: SentimentNetwork, tokenizer: Tokenizer) -> None:
    """Write configuration, tokenizer and weights (in half precision) into a folder.

    Raises:
        CheckpointError: a weight is not finite, or too large for half precision.
    """
    write_config(network.config, folder / CONFIG_FILE)
    tokenizer.save(folder / TOKENIZER_FILE)
    weights = {name: tensor.detach().cpu().half().contiguous() for name, tensor in network.state_dict().items()}
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"tensor {name} has values that are not finite in half precision")
    save_file(weights, folder / WEIGHTS_FILE)


def load_network(folder: Path, config: ModelConfig) -> SentimentNetwork:
    """The network of a stored version, in float32, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: the weights are unreadable, incomplete, of another shape, or not finite.
    """
    path = folder / WEIGHTS_FILE
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file") from error
    return build_network(config, weights, path)


def build_network(config: ModelConfig, weights: dict[str, torch.Tensor], path: Path) -> SentimentNetwork:
    """A network of the given weights, checked name by name and shape by shape.

    Raises:
        CheckpointError: see ``load_network``; names ``path``.
    """
    with torch.device("meta"):
        network = SentimentNetwork(config)
    expected = _shapes(network)
    for name, shape in expected.items():
        if name not in weights:
            raise CheckpointError(f"{path}: tensor {name} is missing")
        if tuple(weights[name].shape) != shape:
            raise CheckpointError(f"{path}: tensor {name} has shape {tuple(weights[name].shape)}, expected {shape}")
        if not torch.isfinite(weights[name]).all():
            raise CheckpointError(f"{path}: tensor {name} has values that are not finite")
    if surplus := sorted(weights.keys() - expected.keys()):
        raise CheckpointError(f"{path}: unexpected tensor {surplus[0]}")
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    return network.eval()


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor a network of this configuration has."""
    with torch.device("meta"):
        return _shapes(SentimentNetwork(config))


def _shapes(network: SentimentNetwork) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
