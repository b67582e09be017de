"""Where forward passes run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from geobento.schemas.errors import SettingsError
from inference import devices


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
    ("quota", "found"),
    [("200000 100000", 2), ("50000 100000", 1), ("6400000 100000", 16), ("max 100000", 16)],
)
def test_cores_of_a_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, found: int
) -> None:
    """A limit on processor time counts: more threads than that would wait for each other."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)), raising=False)
    file = tmp_path / "cpu.max"
    assert devices.available_cores(file) == 16
    file.write_text(quota + "\n")
    assert devices.available_cores(file) == found


def test_what_is_sent_to_the_cpu_is_there() -> None:
    """No copy is made."""
    tensor = torch.ones(3)
    assert devices.to_device(tensor, "cpu") is tensor
