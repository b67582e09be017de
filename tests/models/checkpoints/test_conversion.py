"""Names of checkpoints, described as data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.checkpoints.conversion import Checkpoint, stated_sizes
from models.checkpoints.files import CheckpointError

ONE = torch.ones(1)


def test_names_are_dropped_and_renamed() -> None:
    """Prefixes are dropped; the first prefix that fits is renamed; parts are replaced in turn."""
    rules = Checkpoint(
        drop=("decoder.", "mask_token"),
        rename={"encoder.norm.": "fc_norm.", "encoder.": "", "enc": "never"},
        replace={".gamma": ".weight", ".attn.": ".attention.", ".attention.": ".mixer."},
    )
    names = (
        "decoder.blocks.0.weight", "mask_token", "encoder.norm.gamma", "encoder.blocks.0.attn.bias",
        "head.decoder.weight",
    )  # fmt: skip
    converted = rules.convert(dict.fromkeys(names, ONE))
    assert list(converted) == ["fc_norm.weight", "blocks.0.mixer.bias", "head.decoder.weight"]


def test_without_rules_names_stay() -> None:
    """Floating point tensors become float32, others keep their type."""
    tensors = {"half": ONE.half(), "count": torch.ones(1, dtype=torch.int64)}
    converted = Checkpoint().convert(tensors)
    assert {name: tensor.dtype for name, tensor in converted.items()} == {
        "half": torch.float32,
        "count": torch.int64,
    }


def test_two_tensors_of_one_name() -> None:
    """A rule that makes two names the same is an error, not a silent choice."""
    with pytest.raises(CheckpointError, match=r"become norm\.bias, among them encoder\.norm\.bias"):
        Checkpoint(rename={"encoder.": ""}).convert({"norm.bias": ONE, "encoder.norm.bias": ONE})


@pytest.mark.parametrize("key", ["teacher", ("ema", "teacher")])
def test_the_entry_that_holds_the_tensors(key: str | tuple[str, ...], tmp_path: Path) -> None:
    """Beside others, under the names of the file."""
    file = tmp_path / "checkpoint.pt"
    torch.save({"student": {"a": ONE}, "teacher": {"module.b": ONE}, "epoch": 3}, file)
    assert list(Checkpoint(key=key).read(file)) == ["b"]
    with pytest.raises(CheckpointError, match="neither flat nor under 'model' or 'state_dict'"):
        Checkpoint().read(file)
    with pytest.raises(CheckpointError, match="nor under 'swa'"):
        Checkpoint(key="swa").read(file)


def test_sizes_that_a_configuration_states() -> None:
    """Others than those of the architecture are not read."""
    stated = {"depth": 3, "drop_path": 0.1}
    assert stated_sizes(stated, {"depth": 12, "width": 8}) == {"depth": 3, "width": 8}
