"""Token ids of several texts to one padded tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from app.sentiment import PAD_ID, TokenIds


def pad(batch: Sequence[TokenIds[int]]) -> tuple[Tensor, Tensor]:
    """Pad on the right to the longest text.

    Returns:
        ids (B, T) and lengths (B,), both int64 on the CPU.
    """
    lengths = [len(ids) for ids in batch]
    padded = np.full((len(batch), max(lengths)), PAD_ID, dtype=np.int64)
    for row, ids in enumerate(batch):
        padded[row, : lengths[row]] = ids
    return torch.from_numpy(padded), torch.tensor(lengths)
