"""Checkpoints of AnySat: names, shapes and configurations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.anysat.card import CARD
from models.anysat.model import UNUSED_SENSORS, AnySat
from models.checkpoints.files import CheckpointError
from tests.models import small
from tests.models.anysat.samples import CONFIG

ARCH = {"embed_dim": 48, "depth": 1, "num_heads": 4, "mlp_ratio": 4, "mlp_in": [16, 24, 48]}


def released_tensors() -> dict[str, torch.Tensor]:
    """A small network under the names of the released file, with what reads other sensors."""
    named = {
        name.replace("projectors.", "projector_"): tensor
        for name, tensor in AnySat.seeded_state_dict(CONFIG).items()
    }
    return named | {f"projector_{name}.mlp.0.bias": torch.zeros(4) for name in UNUSED_SENSORS}


def test_a_released_checkpoint() -> None:
    """Projectors of other sensors are left out; nothing else is."""
    config, tensors = AnySat.convert(
        released_tensors(), {"arch": ARCH, "flash_attn": False}, "base"
    )
    assert config == CONFIG
    AnySat(config).network().load_state_dict(tensors, strict=True)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("cls_token", None, "missing cls_token"),
        ("projector_s2.pad_parameter", None, "missing projectors.s2.pad_parameter"),
        ("projector_s3.pad_parameter", (), "unexpected projectors.s3.pad_parameter"),
        ("blocks.0.norm1.bias", (24,), "blocks.0.norm1.bias has shape"),
        ("blocks.2.norm1.bias", (48,), "unexpected blocks.2.norm1.bias"),
    ],
)
def test_files_that_do_not_fit(name: str, shape: tuple[int, ...] | None, message: str) -> None:
    """A missing, surplus or misshapen tensor is named."""
    file = small.spoilt(released_tensors(), name, shape)
    with pytest.raises(CheckpointError, match=message):
        AnySat.convert(file, {"arch": ARCH}, "base")


def test_a_file_of_another_size() -> None:
    """Without a record the released sizes are expected."""
    with pytest.raises(CheckpointError, match=r"missing blocks\.1\.attn"):
        AnySat.convert(released_tensors(), {}, "base")


@pytest.mark.parametrize(
    "wrong",
    [
        {"embed_dim": 50},
        {"embed_dim": 48, "num_heads": 5},
        {"depth": 0},
        {"depth": "1"},
        {"mlp_in": [16, 24]},
        {"mlp_in": [10, 48]},
        {"mlp_in": 48},
    ],
)
def test_configurations_without_sense(wrong: dict[str, Any]) -> None:
    """Refused before a network is made."""
    with pytest.raises(CheckpointError, match=r"embed_dim|depth|mlp_in"):
        AnySat.convert(released_tensors(), {"arch": ARCH | wrong}, "base")


def test_the_card_tells_the_parameters() -> None:
    """As many as the released network has here."""
    with torch.device("meta"):
        network = AnySat(AnySat.default_config("base")).network()
    total = sum(parameter.numel() for parameter in network.parameters())
    assert total == CARD.variants["base"].parameters
