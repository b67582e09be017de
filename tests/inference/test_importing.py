"""Importing a model with its calibration."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from inference import devices
from inference.loading import load_model
from models.weights import store
from models.weights.stored_model import CONFIG_FILE, WEIGHTS_FILE

pytest.importorskip("transformers")

from models.dinov2.model import DinoV2
from tests.models import small


def test_a_missing_measurement_is_added_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an import on a processor that can measure it; all else in the entry stays."""
    sizes: dict[str, Any] = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 2}
    monkeypatch.setattr(small, "SIZES", {DinoV2: sizes})
    with monkeypatch.context() as older:
        older.setattr(devices, "has_int8_hardware", lambda device: False)
        before = small.stored(DinoV2)
        assert "int8" not in before.metadata
        assert small.stored(DinoV2) == before
    if not devices.has_int8_hardware("cpu"):
        return
    with ThreadPoolExecutor(3) as pool:  # several imports at a time
        imported = list(pool.map(small.stored, [DinoV2] * 3))
    assert all(stored.calibration.keys() == {"bfloat16", "int8"} for stored in imported)
    after = small.stored(DinoV2)
    assert after.calibration["int8"]["cosine"] > 0.99
    assert after.calibration["bfloat16"] == before.calibration["bfloat16"]
    assert {**before.metadata, "int8": after.metadata["int8"]} == after.metadata
    assert (after.tag, after.path, after.created) == (before.tag, before.path, before.created)
    assert store.get_model(after.tag) == after
    assert {file.name for file in after.path.iterdir()} == {"model.yaml", WEIGHTS_FILE, CONFIG_FILE}
    load_model(after)
