"""Checkpoints of Galileo: names, shapes and configurations."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models.checkpoints.files import CheckpointError
from models.galileo.model import Galileo
from tests.models import small
from tests.models.galileo.samples import CONFIG

ARCH = {"embedding_size": 32, "depth": 1, "num_heads": 2, "drop_path": 0.1}


def released_tensors() -> dict[str, torch.Tensor]:
    """A small encoder under the names of the released file."""
    return Galileo.seeded_state_dict(CONFIG)


@pytest.mark.parametrize("record", [{"arch": ARCH}, {"model": {"encoder": ARCH, "decoder": {}}}])
@pytest.mark.parametrize("inserted", ["", ".backbone"])
def test_a_released_checkpoint(record: dict[str, Any], inserted: str) -> None:
    """Names are the network's own, but for a word that some files have within them."""
    file = {
        name.replace(".", f"{inserted}.", 1): tensor for name, tensor in released_tensors().items()
    }
    config, tensors = Galileo.convert(file, record, "nano")
    assert config == CONFIG
    Galileo(config).network().load_state_dict(tensors, strict=True)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("norm.bias", None, "missing norm.bias"),
        ("decoder.norm.bias", (32,), "unexpected decoder.norm.bias"),
        ("pos_embed", (12, 8), "pos_embed has shape"),
        ("blocks.1.norm1.bias", (32,), "unexpected blocks.1.norm1.bias"),
    ],
)
def test_files_that_do_not_fit(name: str, shape: tuple[int, ...] | None, message: str) -> None:
    """A missing, surplus or misshapen tensor is named."""
    file = small.spoilt(released_tensors(), name, shape)
    with pytest.raises(CheckpointError, match=message):
        Galileo.convert(file, {"arch": ARCH}, "nano")


def test_a_file_of_another_model() -> None:
    """Refused by names that a Galileo lacks."""
    with pytest.raises(CheckpointError, match="unexpected cls_token"):
        Galileo.convert({"cls_token": torch.zeros(1, 1, 8)}, {}, "nano")


def test_another_variant() -> None:
    """Refused by its configuration, or without one by the shapes."""
    record = {"arch": {"embedding_size": 192, "depth": 12, "num_heads": 3}}
    with pytest.raises(CheckpointError, match="that of tiny, not of nano"):
        Galileo.convert({}, record, "nano")
    nano = Galileo(Galileo.default_config("nano")).network().state_dict()
    smaller = nano | released_tensors()
    with pytest.raises(CheckpointError, match=r"pos_embed has shape \(24, 8\), expected 24x32"):
        Galileo.convert(smaller, {}, "nano")


@pytest.mark.parametrize(
    "arch",
    [
        {"embedding_size": 30, "depth": 1, "num_heads": 2},
        {"embedding_size": 32, "depth": 0, "num_heads": 2},
        {"embedding_size": 32, "depth": "1", "num_heads": 2},
        {"depth": 1, "num_heads": 2},
    ],
)
def test_configurations_without_sense(arch: dict[str, Any]) -> None:
    """Refused before a network is made."""
    with pytest.raises(CheckpointError, match=r"embedding_size|depth"):
        Galileo.convert(released_tensors(), {"arch": arch}, "nano")
