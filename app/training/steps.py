"""What every loop of training steps shares: its learning rate, its interruption, its state on disk."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

SAVE_EVERY_SECONDS = 60.0


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
def interruptible() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C take effect between two steps, where the state is consistent: yields whether it was pressed."""
    pressed = False

    def remember(*_: object) -> None:
        nonlocal pressed
        pressed = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: pressed
        return
    previous = signal.signal(signal.SIGINT, remember)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, previous)


def write_state(state: dict[str, Any], path: Path) -> None:
    """Write a run's state atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.part")
    torch.save(state, temporary)
    temporary.rename(path)
