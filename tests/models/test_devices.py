"""Where forward passes run."""

from __future__ import annotations

import pytest
import torch

from geobento.errors import SettingsError
from models import devices


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is the processor; asking for a GPU stops the start with a clear message."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.choose("auto") == devices.choose("cpu") == "cpu"
    with pytest.raises(SettingsError, match="GEOBENTO_DEVICE"):
        devices.choose("cuda")


def test_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` takes it, `cpu` does not, and float32 stays float32."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert devices.choose("cpu") == "cpu"
    assert devices.choose("auto") == devices.choose("cuda") == "cuda"
    assert not torch.backends.cudnn.allow_tf32
