"""Chooses what computes the forward pass of a stored model on this machine.

Imports torch only where it is what computes: without it the engine starts in a second and takes a fraction of the
memory.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import re
from array import array
from collections.abc import Callable
from pathlib import Path

from app.errors import CheckpointError, SettingsError
from app.golden import check_scores
from app.sentiment import DEVICES, TOKEN_TYPECODE, UNKNOWN_ID, Predictor, Scores
from app.store import WEIGHTS_FILE, StoredModel

logger = logging.getLogger(__name__)

_WARM_UP_LENGTHS = (1, 64)
_WARM_UP_WORDS = 50
NEEDS_TORCH = "needs PyTorch, which is not installed: install 'sentiment-service[torch]'"
# The driver's control device; under the Windows subsystem the GPU is behind another one.
_CUDA_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


def load_predictors(
    model: StoredModel, device: str, runtime: str, precision: str, threads: int, file: int | None = None
) -> list[Predictor]:
    """As many warmed-up predictors as keep the device busy, sharing one copy of the weights.

    Args:
        model: an opened version.
        device: ``auto``, ``cpu`` or ``cuda[:index]``.
        runtime: ``auto``, ``native`` (the C kernel, on the CPU) or ``torch``; auto is native on the CPU and torch on a
            GPU.
        precision: ``auto`` (the fastest that the runtime has here; of torch, float32), ``float32``, ``bfloat16`` (on
            the CPU) or ``float16`` (on a GPU).
        threads: threads of all predictors together, at least 1.
        file: holds the native kernel's weights for several processes, see ``PackedModel.shared``; None: for this one
            alone.

    Raises:
        CheckpointError: the weights are unusable, or the golden texts have other scores; names the file.
        SettingsError: the combination is not to be had here.
    """
    device = resolve_device(device)
    predictors = None
    try:
        if device == "cpu" and runtime in ("auto", "native"):
            predictors = _native(model, precision, threads, runtime, file)
        if predictors is None:
            predictors = [_torch(model, device, runtime, precision, threads)]
    except OverflowError as error:
        raise CheckpointError(f"{model.path / WEIGHTS_FILE}: {error}") from error
    _warm_up(predictors[0], model)
    check_scores(model, predictors[0])
    return predictors


def load_predictor(
    model: StoredModel, device: str = "auto", runtime: str = "auto", precision: str = "auto", threads: int = 1
) -> Predictor:
    """One warmed-up predictor; see ``load_predictors``. ``native`` computes in the caller's one thread."""
    return load_predictors(model, device, runtime, precision, threads)[0]


def resolve_device(device: str, setting: str = "SENTIMENT_DEVICE") -> str:
    """``auto`` becomes ``cuda`` where there is one, else ``cpu``. Errors name ``setting``.

    Raises:
        SettingsError: that is no device, or a CUDA device is asked for and there is none.
    """
    if re.fullmatch(DEVICES, device) is None:
        raise SettingsError(f"{setting}: must be auto, cpu, cuda or cuda:N (got {device[:40]!r})")
    if device == "cpu" or (device == "auto" and not any(path.exists() for path in _CUDA_DEVICES)):
        return "cpu"
    if torch_missing():
        if device == "auto":
            logger.warning("%s: there may be a GPU here, which %s; going on on the CPU", setting, NEEDS_TORCH)
            return "cpu"
        raise SettingsError(f"{setting}: {device} {NEEDS_TORCH}")
    import torch

    if torch.cuda.is_available():
        return "cuda" if device == "auto" else device
    if device == "auto":
        return "cpu"
    raise SettingsError(f"{setting}: {device} is asked for, but PyTorch sees no CUDA device")


def torch_missing() -> bool:
    """Whether PyTorch, which is an extra, is not installed. Does not import it."""
    return importlib.util.find_spec("torch") is None


def device_bytes(device: str) -> Callable[[], int]:
    """What tells the memory that PyTorch holds on a CUDA device, in bytes; 0 on the CPU."""
    if not device.startswith("cuda"):
        return lambda: 0
    import torch

    return lambda: int(torch.cuda.memory_reserved(device))


def _native(model: StoredModel, precision: str, threads: int, runtime: str, file: int | None) -> list[Predictor] | None:
    """Predictors of the C kernel; None where there is no kernel and another runtime may stand in."""
    from app.model.native_predictor import NativePredictor, choose_variant
    from app.model.weights import Array, read_weights
    from app.native.packed_model import PackedModel

    def read() -> dict[str, Array]:
        model.verify(WEIGHTS_FILE)
        return read_weights(model.path, model.config)

    try:
        variant = choose_variant(precision)
    except LookupError as error:
        if runtime == "native" or precision == "bfloat16":
            raise SettingsError(f"SENTIMENT_RUNTIME, SENTIMENT_PRECISION: {error}") from error
        if torch_missing():
            raise SettingsError(f"{error}; the other runtime, torch, {NEEDS_TORCH}") from error
        logger.warning("%s, falling back to torch, which is several times slower", error)
        return None
    if file is None:
        packed = PackedModel(model.config, read(), variant)
    else:
        packed = PackedModel.shared(file, model.digest, model.config, variant, read)
    return [NativePredictor(packed, model.config) for _ in range(threads)]


def _torch(model: StoredModel, device: str, runtime: str, precision: str, threads: int) -> Predictor:
    half = precision == "float16" and device != "cpu"
    if runtime == "native" or not (half or precision in ("auto", "float32")):
        raise SettingsError(
            f"SENTIMENT_RUNTIME, SENTIMENT_PRECISION: no {runtime} runtime in {precision} on {device}; "
            f"torch in float32 {'' if device == 'cpu' else 'or float16 '}is what there is"
        )
    if torch_missing():
        raise SettingsError(f"SENTIMENT_RUNTIME: torch {NEEDS_TORCH}")
    import torch

    from app.model.checkpoint import load_network
    from app.model.torch_predictor import TorchPredictor

    if device == "cpu":
        torch.set_num_threads(max(1, threads))
    model.verify(WEIGHTS_FILE)
    return TorchPredictor(load_network(model.path, model.config), device, "float16" if half else "float32")


def _warm_up(predictor: Predictor, model: StoredModel) -> None:
    """Run shapes that will occur, so that no request pays for first-time set-up, and words from the whole vocabulary.

    Raises:
        CheckpointError: a score is not finite, or every text gets the same ones, so that the weights say nothing.
    """
    config, path = model.config, model.path / WEIGHTS_FILE
    lengths = [min(length, config.max_tokens) for length in (*_WARM_UP_LENGTHS, config.max_tokens)]
    last = config.vocabulary_size - 1
    words = range(UNKNOWN_ID, last + 1, max(1, (last - UNKNOWN_ID) // _WARM_UP_WORDS))
    found: set[Scores] = set()
    for length in lengths:
        ids = array(TOKEN_TYPECODE, [UNKNOWN_ID]) * length
        found.update(predictor.predict([ids, ids]))
    found.update(predictor.predict([array(TOKEN_TYPECODE, [word]) for word in words]))
    numbers = [number for scores in found for number in (*scores.probabilities, scores.rating or 0.0)]
    if not all(map(math.isfinite, numbers)):
        raise CheckpointError(f"{path}: the scores of these weights are not finite")
    if len(found) == 1:
        raise CheckpointError(f"{path}: with these weights every text gets the same scores")
