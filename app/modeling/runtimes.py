"""Chooses what computes the forward pass of a stored model on this machine."""

from __future__ import annotations

from array import array

import torch

from app.errors import CheckpointError, SettingsError
from app.modeling.checkpoint import load_network
from app.modeling.predictor import TorchPredictor
from app.sentiment import TOKEN_TYPECODE, UNKNOWN_ID, Predictor
from app.store import StoredModel

_WARM_UP_LENGTHS = (1, 64)


def load_predictors(
    model: StoredModel, device: str = "auto", runtime: str = "auto", precision: str = "auto", threads: int = 0
) -> list[Predictor]:
    """As many warmed-up predictors as keep the device busy; see ``load_predictor``."""
    return [load_predictor(model, device, runtime, precision, threads)]


def load_predictor(
    model: StoredModel, device: str = "auto", runtime: str = "auto", precision: str = "auto", threads: int = 0
) -> Predictor:
    """A warmed-up predictor for a stored model.

    Args:
        model: an opened version.
        device: ``auto``, ``cpu`` or ``cuda[:index]``.
        runtime: ``auto`` or ``torch``.
        precision: ``auto`` or ``float32``.
        threads: threads of one forward pass; 0 leaves the runtime's default.

    Raises:
        CheckpointError: the weights are unusable.
        SettingsError: the device or the combination is not to be had here.
    """
    if runtime not in ("auto", "torch") or precision not in ("auto", "float32"):
        raise SettingsError(f"SENTIMENT_RUNTIME, SENTIMENT_PRECISION: no {runtime} runtime in {precision} here")
    device = resolve_device(device)
    if threads:
        torch.set_num_threads(threads)
    predictor = TorchPredictor(load_network(model.path, model.config), device)
    _warm_up(predictor, model.config.max_tokens)
    return predictor


def resolve_device(device: str) -> str:
    """``auto`` becomes ``cuda`` where there is one, else ``cpu``.

    Raises:
        SettingsError: a CUDA device is asked for and there is none.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SettingsError(f"SENTIMENT_DEVICE: {device} is asked for, but PyTorch sees no CUDA device")
    return device


def _warm_up(predictor: Predictor, max_tokens: int) -> None:
    """Run shapes that will occur, so that no request pays for first-time set-up; proves that the scores are finite."""
    for length in (*_WARM_UP_LENGTHS, max_tokens):
        ids = array(TOKEN_TYPECODE, [UNKNOWN_ID]) * min(length, max_tokens)
        for score in predictor.predict([ids, ids]):
            if not all(0.0 <= probability <= 1.0 for probability in score.probabilities):
                raise CheckpointError("the model's scores are not finite")
