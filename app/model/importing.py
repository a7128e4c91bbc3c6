"""Somebody else's PyTorch state dict as a version of the model store."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import torch
from torch import Tensor

from app.errors import CheckpointError
from app.model.checkpoint import build_network, load_network, save_checkpoint
from app.model.weights import checked, expected_shapes
from app.store import CARD_FILE, ModelConfig, ModelStore, StoredModel, read_config
from app.text.tokenizer import Tokenizer

# PyTorch's own names within one multi-layer, possibly bidirectional, recurrent module.
_PACKED = re.compile(r"(?:[^.]+\.)?((?:weight|bias)_(?:ih|hh)_l)(\d+)(_reverse)?")

_CARD = """# {name}

Imported from a PyTorch state dict (`{weights}`) with `python -m app models import`. It was not evaluated here:
`python -m app evaluate {name} --data FILE` says what it scores.
"""


def import_model(store: ModelStore, name: str, weights: Path, config: Path, vocabulary: Path) -> StoredModel:
    """Write a state dict, a configuration and a vocabulary as the next version of ``name``; all of it or nothing.

    Raises:
        CheckpointError: a file is unusable or they do not fit together; names the file.
    """
    described = read_config(config)
    words = read_vocabulary(vocabulary)
    if len(words) != described.vocabulary_size:
        raise CheckpointError(f"{vocabulary}: {len(words)} words, {config} says {described.vocabulary_size}")
    try:
        tokenizer = Tokenizer(words, described.max_tokens, described.head_tokens)
    except CheckpointError as error:
        raise CheckpointError(f"{vocabulary}: {error}") from error
    state = {name: tensor.double().numpy() for name, tensor in read_state_dict(weights, described).items()}
    network = build_network(described, checked(state, described, weights))
    with store.new_version(name) as folder:
        save_checkpoint(folder, network, tokenizer)
        # What was written must load: rounding could have made a weight infinite.
        load_network(folder, described)
        (folder / CARD_FILE).write_text(_CARD.format(name=name, weights=weights.name), encoding="utf-8")
    return store.open(name)


def read_state_dict(path: Path, config: ModelConfig) -> dict[str, Tensor]:
    """A state dict saved with ``torch.save``, under the names this project's networks have.

    Names may also be those of a single ``nn.GRU``, ``nn.LSTM`` or ``nn.RNN`` (``gru.weight_ih_l1_reverse``); they are
    mapped to ``recurrent.<layer>.<direction>``. Nothing but tensors is unpickled.

    Raises:
        CheckpointError: unreadable, not a plain dictionary of tensors, or with other names or shapes; lists what is
            expected.
    """
    try:
        with warnings.catch_warnings():
            # About pickle protocols; whether the content will do is checked below.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a malformed pickle can raise anything
        raise CheckpointError(f"{path}: refused, not a plain state dict of tensors ({type(error).__name__})") from error
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise CheckpointError(f"{path}: refused, not a plain state dict of tensors")
    weights = {_mapped(str(name)): tensor for name, tensor in content.items()}
    expected = expected_shapes(config)
    if {name: tuple(tensor.shape) for name, tensor in weights.items()} != expected:
        raise CheckpointError(f"{path}: tensors do not fit the configuration\n{_difference(weights, expected)}")
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            raise CheckpointError(f"{path}: tensor {name} holds {tensor.dtype}, must hold floating-point numbers")
    return {name: tensor.detach() for name, tensor in weights.items()}


def read_vocabulary(path: Path) -> list[str]:
    """Words by id: a text file with one a line, a JSON list, a JSON object of word to id, or a ``tokenizer.json``.

    Raises:
        CheckpointError: unreadable, or ids that are not 0, 1, 2 and so on.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a readable vocabulary ({type(error).__name__})") from error
    if isinstance(document, dict):
        document = document["vocabulary"] if "vocabulary" in document else _by_id(document, path)
    if not isinstance(document, list) or not all(isinstance(word, str) for word in document):
        raise CheckpointError(f"{path}: must be a list of words or an object of word to id")
    return document


def _by_id(ids: dict[str, object], path: Path) -> list[str]:
    words = {number: word for word, number in ids.items()}
    if sorted(words, key=str) != sorted(range(len(ids)), key=str):
        raise CheckpointError(f"{path}: ids must be 0 to {len(ids) - 1}, each once")
    return [words[number] for number in range(len(ids))]


def _mapped(name: str) -> str:
    match = _PACKED.fullmatch(name)
    if match is None:
        return name
    parameter, layer, reverse = match.groups()
    return f"recurrent.{layer}.{1 if reverse else 0}.{parameter}0"


def _difference(weights: dict[str, Tensor], expected: dict[str, tuple[int, ...]]) -> str:
    lines = ["expected:", *(f"  {name} {list(shape)}" for name, shape in expected.items()), "found:"]
    return "\n".join([*lines, *(f"  {name} {list(tensor.shape)}" for name, tensor in weights.items())])
