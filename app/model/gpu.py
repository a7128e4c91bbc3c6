"""Figures of the GPU that the engine computes on, from the driver (NVML) through PyTorch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GpuFigures:
    """One moment of one GPU.

    Attributes:
        memory_used: bytes in use by all programs.
        memory: bytes there are.
        utilization: share of the driver's last sample period in which a kernel ran, 0 to 1.
        power: watts.
    """

    memory_used: int
    memory: int
    utilization: float
    power: float


def gpu_reader(device: str) -> Callable[[], GpuFigures] | None:
    """What reads the figures of a CUDA device; None where it is none or the driver cannot be asked.

    Args:
        device: as PyTorch names it, such as ``cuda:0``.
    """
    if not device.startswith("cuda"):
        return None
    import torch

    def read() -> GpuFigures:
        # PyTorch, not NVML directly: it knows which of the driver's devices CUDA_VISIBLE_DEVICES left as number 0.
        return GpuFigures(
            torch.cuda.device_memory_used(device),
            torch.cuda.get_device_properties(device).total_memory,
            torch.cuda.utilization(device) / 100,
            torch.cuda.power_draw(device) / 1000,
        )

    try:
        read()
    except Exception as error:
        logger.info("no figures of the GPU (%s); they need nvidia-ml-py and the driver", error)
        return None
    return read
