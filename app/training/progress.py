"""What a training run knows about itself beside its tensors."""

from __future__ import annotations

from dataclasses import dataclass


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
