"""Measured cost of lower precisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from inference import devices
from inference.calibration import compare_vectors
from inference.engines.torch import TorchModel
from inference.loading import load_model, model_precision
from inference.types import EncodeItem

pytest.importorskip("transformers")

from models.clip.openai import Clip
from models.dinov2.model import DinoV2
from tests.models import small


def test_comparison_of_vectors() -> None:
    """The smallest cosine, and the largest difference relative to the length of the vector."""
    reference = [np.array([3.0, 4.0]), np.array([1.0, 0.0])]
    result = compare_vectors(reference, [np.array([4.0, 3.0]), np.array([2.0, 0.0])])
    assert result == {"cosine": pytest.approx(0.96), "max_error": pytest.approx(1)}


def test_a_failed_input_is_never_accurate() -> None:
    """Whichever precision it failed in."""
    vector = np.ones(2)
    for pair in ([vector], [None]), ([None], [vector]):
        assert compare_vectors(*pair) == {"cosine": 0.0, "max_error": float("inf")}


def test_requests_get_what_was_measured() -> None:
    """The calibrated cosine holds for other inputs, too, and is below 1."""
    stored = small.stored(Clip)
    calibration = stored.calibration["bfloat16"]
    assert 0.999 < calibration["cosine"] < 1
    assert 0 < calibration["max_error"] < 0.05
    exact, rounded = load_model(stored), load_model(stored, precision="bfloat16")
    assert isinstance(rounded, TorchModel)
    assert rounded.precision == "bfloat16"
    assert {p.dtype for p in rounded._network.parameters()} == {torch.bfloat16}
    for modality in ("image", "text"):
        inputs = exact.model.example_inputs(modality, seed=9)
        item = EncodeItem(inputs=inputs, pooling="native")
        (a,), (b,) = exact.run([item]), rounded.run([item])
        assert b.data.dtype == np.float32
        cosine = a.data @ b.data / np.linalg.norm(a.data) / np.linalg.norm(b.data)
        assert 0.999 < cosine < 1 - 1e-9


@pytest.mark.skipif(not devices.has_int8_hardware("cpu"), reason="no int8 hardware")
def test_int8_is_measured_and_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network with large layers; the calibration differs from that of bfloat16."""
    sizes: dict[str, Any] = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 4}
    monkeypatch.setattr(small, "SIZES", {DinoV2: sizes})
    stored = small.stored(DinoV2)
    calibration = stored.calibration
    assert 0.99 < calibration["int8"]["cosine"] < calibration["bfloat16"]["cosine"] < 1
    exact, rounded = load_model(stored), load_model(stored, precision="int8")
    assert rounded.precision == "int8"
    item = EncodeItem(inputs=exact.model.example_inputs("image", seed=9), pooling="native")
    (a,), (b,) = exact.run([item]), rounded.run([item])
    cosine = a.data @ b.data / np.linalg.norm(a.data) / np.linalg.norm(b.data)
    assert 0.99 < cosine < 1 - 1e-9


def test_small_networks_have_nothing_for_int8() -> None:
    """Without large layers nothing is computed in int8, and nothing is said to be."""
    stored = small.stored(Clip)
    assert "int8" not in stored.calibration
    assert load_model(stored, precision="int8").precision != "int8"
    assert model_precision(stored, "int8", "cpu") == model_precision(stored, "auto", "cpu")
