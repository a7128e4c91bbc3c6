"""Checkpoints: a network's weights to and from the model store, and from somebody else's torch state dict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

from app.errors import CheckpointError
from app.model.networks import SentimentNetwork
from app.model.weights import Array, read_weights
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
        CheckpointError: see ``weights.read_weights``.
    """
    return build_network(config, read_weights(folder, config))


def build_network(config: ModelConfig, weights: Mapping[str, Array]) -> SentimentNetwork:
    """A network of weights that were checked; see ``load_network``."""
    with torch.device("meta"):
        network = SentimentNetwork(config)
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in weights.items()}, assign=True)
    return network.eval()
