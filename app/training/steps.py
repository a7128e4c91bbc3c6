"""What loops of training steps share: what they know of themselves, learning rate, interruption, state on disk."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

SAVE_EVERY_SECONDS = 60.0


@dataclass(frozen=True)
class Epoch:
    """Figures of one pass over the training split."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float
    tokens_per_second: float


@dataclass
class Progress:
    """Where a run stands; everything beside tensors that a resumed run must know."""

    epoch: int = 0
    step: int = 0
    step_in_epoch: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best_merit: float = 0.0
    best_epoch: int = -1


def schedule(step: int, total: int, warmup: float, *, decay: bool) -> float:
    """Factor of the learning rate at a step.

    Args:
        step: from 0.
        total: steps of the whole run.
        warmup: share of all steps in which it rises linearly from 0; 0 for none.
        decay: whether it then falls linearly to 0.
    """
    rising = max(1, round(warmup * total))
    if warmup and step < rising:
        return (step + 1) / rising
    if not decay:
        return 1.0
    return max(0.0, (total - step) / max(1, total - rising))


@contextmanager
def interruptible(save: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Let Ctrl-C take effect between two steps, where the state is consistent, and save it there from time to time.

    Args:
        save: keeps the state.

    Yields:
        What is to be called between two steps; raises KeyboardInterrupt, with the state saved, after Ctrl-C.
    """
    pressed, saved = False, time.monotonic()

    def remember(*_: object) -> None:
        nonlocal pressed
        pressed = True

    def between_steps() -> None:
        nonlocal saved
        if pressed or time.monotonic() - saved > SAVE_EVERY_SECONDS:
            save()
            saved = time.monotonic()
        if pressed:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield between_steps
        return
    previous = signal.signal(signal.SIGINT, remember)
    try:
        yield between_steps
    finally:
        signal.signal(signal.SIGINT, previous)


def write_state(state: dict[str, Any], path: Path) -> None:
    """Write a run's state atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    torch.save(state, temporary)
    temporary.rename(path)
