"""Where forward passes run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from geobento.schemas.errors import SettingsError
from inference import devices
from inference.operators import supports_quantization


@pytest.mark.parametrize("has_driver", [True, False])
def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, has_driver: bool) -> None:
    """`auto` is the processor; asking for a GPU stops the start with a clear message."""
    monkeypatch.setattr(devices, "_has_gpu_driver", lambda: has_driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.resolve_device("auto") == devices.resolve_device("cpu") == "cpu"
    with pytest.raises(SettingsError, match="GEOBENTO_DEVICE"):
        devices.resolve_device("cuda")


def test_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` takes it, `cpu` does not, and float32 stays float32."""
    monkeypatch.setattr(devices, "_has_gpu_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert devices.resolve_device("cpu") == "cpu"
    assert devices.resolve_device("auto") == devices.resolve_device("cuda") == "cuda"
    assert not torch.backends.cudnn.allow_tf32


def test_a_gpu_that_torch_sees_has_a_driver() -> None:
    """On any machine: not to ask torch where there is no driver loses no GPU."""
    assert devices.has_gpu() == torch.cuda.is_available()


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000", 2), ("50000 100000", 1), ("6400000 100000", 16), ("max 100000", 16)],
)
def test_cores_of_a_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, expected: int
) -> None:
    """A limit on processor time counts: more threads than that would wait for each other."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)), raising=False)
    file = tmp_path / "cpu.max"
    assert devices.available_cores(file) == 16
    file.write_text(quota + "\n")
    assert devices.available_cores(file) == expected


def test_arrays_stay_on_the_cpu() -> None:
    """No copy is made."""
    tensor = torch.ones(3)
    assert devices.to_device(tensor, "cpu") is tensor


def test_bfloat16_hardware() -> None:
    """The result agrees with what torch says of this machine."""
    names = {name for name, has in torch.cpu.get_capabilities().items() if has is True}
    assert devices.has_bf16_hardware("cpu") == bool(
        names & {"amx_bf16", "avx512_bf16", "sve_bf16", "bf16"}
    )


def test_int8_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older processors saturate sums; a GPU has no such layers."""
    monkeypatch.setattr(devices, "cpu_flags", lambda: {"avx512f", "avx512_bf16"})
    assert not devices.has_int8_hardware("cpu")
    monkeypatch.setattr(devices, "cpu_flags", lambda: {"avx512_vnni"})
    assert not devices.has_int8_hardware("cuda")
    assert devices.has_int8_hardware("cpu") == supports_quantization()


@pytest.mark.parametrize(
    ("text", "has_bf16"),
    [
        ("processor : 0\nflags\t\t: fpu avx512_bf16 rdseed\n\nprocessor : 1\nflags : fpu\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd svebf16 bf16\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx512f bmi2\nbugs\t\t: bf16\n", False),
        ("", False),
    ],
)
def test_cpu_flags_of_linux(tmp_path: Path, text: str, has_bf16: bool) -> None:
    """The line of instruction sets is read, on x86 and ARM; no other line is."""
    file = tmp_path / "cpuinfo"
    file.write_text(text)
    assert bool(devices.cpu_flags(file) & devices.BF16_CPU_FLAGS) == has_bf16


def test_cpu_flags_without_linux(tmp_path: Path) -> None:
    """Torch is asked, and agrees."""
    flags = devices.cpu_flags(tmp_path / "none")
    assert bool(flags & devices.BF16_CPU_FLAGS) == devices.has_bf16_hardware("cpu")
