"""Devices of forward passes, and what they compute in."""

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
"""CPU limit of a container (cgroup v2): microseconds of CPU time per period, and the period."""
AMD_DEVICE = Path("/dev/kfd")
"""Device file of AMD's driver."""
BF16_CPU_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "svebf16", "sve_bf16", "bf16"})
"""Instruction sets that multiply bfloat16, as Linux and torch name them."""
INT8_CPU_FLAGS = frozenset({"amx_int8", "avx512_vnni", "avx_vnni"})
"""Instruction sets that accumulate int8 products without saturation, as Linux names them."""


def resolve_device(requested: Device) -> str:
    """The torch device for a setting; ``auto`` is the GPU if there is one.

    Raises:
        SettingsError: A GPU is requested and torch sees none.
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

    # By default convolutions run in TF32, which has 10 of float32's 23 mantissa bits.
    torch.backends.cudnn.allow_tf32 = False
    return "cuda"


def has_gpu() -> bool:
    """Whether torch sees a GPU. Torch is imported, which is slow, only if a driver exists."""
    if not _has_gpu_driver():
        return False
    import torch

    return torch.cuda.is_available()


def _has_gpu_driver() -> bool:
    """Whether NVIDIA's driver library or AMD's device file exists."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return AMD_DEVICE.exists()
    return True


def has_bf16_hardware(device: str) -> bool:
    """Whether a device multiplies bfloat16 matrices in hardware."""
    if device.startswith("cuda"):
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(cpu_flags() & BF16_CPU_FLAGS)


def has_int8_hardware(device: str) -> bool:
    """Whether a device multiplies int8 matrices in hardware, and torch has operators for it."""
    if device != "cpu" or not cpu_flags() & INT8_CPU_FLAGS:
        return False
    from inference.operators import supports_quantization

    return supports_quantization()


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Instruction sets of the processor, from Linux, or else from torch, which is slower.

    Args:
        cpuinfo: File in which Linux lists them.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        import torch

        return {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    fields = (line.partition(":") for line in lines)
    flags = (value for name, _, value in fields if name.strip() in ("flags", "Features"))
    return set(next(flags, "").split())


def to_device(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """Copy a tensor from the CPU to a device, without waiting for the copy.

    Args:
        tensor: On the CPU.
        device: Target. A GPU reads pinned memory by itself.
    """
    if device == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def limit_torch_threads(processes: int) -> None:
    """Set the number of torch threads to this process's share of the cores."""
    import torch

    torch.set_num_threads(cores_per_process(processes))


def cores_per_process(processes: int) -> int:
    """Cores for each of several processes, at least one."""
    return max(1, available_cores() // processes)


def available_cores(quota_file: Path = CGROUP_CPU_MAX) -> int:
    """Cores that this process may use: its affinity, or the limit of its container.

    Args:
        quota_file: File in which Linux states the limit.
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
