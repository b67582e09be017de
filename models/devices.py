"""Where forward passes run."""

from __future__ import annotations

import os

import torch

from geobento.errors import SettingsError
from geobento.specs import Device


def choose(wanted: Device) -> str:
    """The torch device for a wish: ``auto`` is the GPU where there is one.

    Raises:
        SettingsError: A GPU is wanted and torch sees none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise SettingsError("GEOBENTO_DEVICE is 'cuda', but torch sees no GPU; accepted: auto, cpu")
    if wanted == "cpu" or not available:
        return "cpu"
    # Otherwise convolutions would silently run in TF32, with a hundredth of float32's precision.
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"


def share_cores(processes: int) -> None:
    """Let torch use this process's share of the cores, at least one."""
    torch.set_num_threads(max(1, cores() // processes))


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
