"""Device and precision of a stored model."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from inference import devices
from inference.loading import model_precision
from models.weights.stored_model import StoredModel
from tests.conftest import ROOT

pytest.importorskip("transformers")

from models.clip.openai import Clip

ACCURATE = {"cosine": 0.9999, "max_error": 0.01}


@pytest.fixture
def clip_entry(mosaiks_stored: StoredModel) -> StoredModel:
    """An entry of Clip.card whose precisions are all accurate."""
    return replace(
        mosaiks_stored, metadata={"model": Clip.card.id, "bfloat16": ACCURATE, "int8": ACCURATE}
    )


@pytest.mark.parametrize(
    ("requested", "hardware", "expected"),
    [
        ("auto", {"bfloat16", "int8"}, "bfloat16"),
        ("auto", {"int8"}, "float32"),
        ("int8", {"bfloat16", "int8"}, "int8"),
        ("int8", {"bfloat16"}, "bfloat16"),
    ],
)
def test_the_hardware_decides(
    monkeypatch: pytest.MonkeyPatch,
    clip_entry: StoredModel,
    requested: str,
    hardware: set[str],
    expected: str,
) -> None:
    """Both checks of the device reach the choice."""
    monkeypatch.setattr(devices, "has_bf16_hardware", lambda device: "bfloat16" in hardware)
    monkeypatch.setattr(devices, "has_int8_hardware", lambda device: "int8" in hardware)
    assert model_precision(clip_entry, requested, "cpu") == expected


def test_a_model_without_lower_precisions(mosaiks_stored: StoredModel) -> None:
    """Its card rules them out, so nothing is measured and nothing is chosen."""
    assert not mosaiks_stored.calibration
    assert model_precision(mosaiks_stored, "bfloat16", "cpu") == "float32"


def test_the_api_server_needs_no_torch() -> None:
    """It chooses precisions and sends items, but loads no network."""
    code = "import sys, inference.loading, inference.batches; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
