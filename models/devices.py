"""Where forward passes run."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from geobento.errors import SettingsError
from geobento.specs import Device

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of processor time per period, and the period; of containers, by cgroup v2."""


def choose(wanted: Device) -> str:
    """The torch device for a wish: ``auto`` is the GPU where there is one.

    Raises:
        SettingsError: A GPU is wanted and torch sees none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise SettingsError(
            "GEOBENTO_DEVICE: got 'cuda', but torch sees no GPU; accepted: auto, cpu"
        )
    if wanted == "cpu" or not available:
        return "cpu"
    # Otherwise convolutions would silently run in TF32, with a hundredth of float32's precision.
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"


def share_cores(processes: int) -> None:
    """Let torch use this process's share of the cores, at least one."""
    torch.set_num_threads(max(1, cores() // processes))


def cores(quota: Path = QUOTA) -> int:
    """Cores that this process may use: those it is bound to, or fewer by a container's limit.

    Args:
        quota: Where Linux says the limit.
    """
    if hasattr(os, "sched_getaffinity"):
        bound = len(os.sched_getaffinity(0))
    else:
        bound = os.cpu_count() or 1
    try:
        time, period = quota.read_text().split()
    except (OSError, ValueError):
        return bound
    return bound if time == "max" else max(1, min(bound, int(time) // int(period)))
