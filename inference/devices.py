"""Where forward passes run."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

from geobento.schemas.errors import SettingsError
from geobento.schemas.specs import Device

if TYPE_CHECKING:
    import torch

CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of processor time per period, and the period; of containers, by cgroup v2."""
AMD_DEVICE = Path("/dev/kfd")
"""Device of AMD's driver."""


def resolve_device(requested: Device) -> str:
    """The torch device for a wish: ``auto`` is the GPU where there is one.

    Raises:
        SettingsError: A GPU is wanted and torch sees none.
    """
    if requested == "cpu":
        return "cpu"
    available = has_gpu()
    if requested == "cuda" and not available:
        raise SettingsError(
            "GEOBENTO_DEVICE: got 'cuda', but torch sees no GPU; accepted: auto, cpu"
        )
    if not available:
        return "cpu"
    import torch

    # Otherwise convolutions would silently run in TF32, with a hundredth of float32's precision.
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"


def has_gpu() -> bool:
    """Whether torch sees a GPU; torch, which takes its time and memory, is asked only if it may."""
    if not _has_gpu_driver():
        return False
    import torch

    return torch.cuda.is_available()


def _has_gpu_driver() -> bool:
    """Whether there is the library of NVIDIA's driver, or the device of AMD's."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return AMD_DEVICE.exists()
    return True


def to_device(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """A tensor of this process's memory on a device; the process need not wait for the copy.

    Args:
        tensor: On the CPU.
        device: Where it is read. A GPU fetches by itself what lies in pinned memory.
    """
    if device == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def limit_torch_threads(processes: int) -> None:
    """Let torch use this process's share of the cores."""
    import torch

    torch.set_num_threads(cores_per_process(processes))


def cores_per_process(processes: int) -> int:
    """Cores of each of some processes, at least one."""
    return max(1, available_cores() // processes)


def available_cores(quota_file: Path = CGROUP_CPU_MAX) -> int:
    """Cores that this process may use: those it is bound to, or fewer by a container's limit.

    Args:
        quota_file: Where Linux says the limit.
    """
    if hasattr(os, "sched_getaffinity"):
        bound = len(os.sched_getaffinity(0))
    else:
        bound = os.cpu_count() or 1
    try:
        time, period = quota_file.read_text().split()
    except (OSError, ValueError):
        return bound
    return bound if time == "max" else max(1, min(bound, int(time) // int(period)))
