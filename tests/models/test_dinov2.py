"""DINOv2: names, positions, shapes."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("transformers")

from models.checkpoints.files import CheckpointError
from models.dinov2.checkpoint import resample_position_table
from models.dinov2.model import DinoV2
from tests.models import small

SMALL = {"arch": {"embed_dim": 12, "depth": 1, "num_heads": 2}}


def released_file() -> dict[str, torch.Tensor]:
    """A small network under the names of the released file."""
    torch.manual_seed(0)
    block = {
        "norm1.weight": (12,), "norm1.bias": (12,), "attn.qkv.weight": (36, 12),
        "attn.qkv.bias": (36,), "attn.proj.weight": (12, 12), "attn.proj.bias": (12,),
        "ls1.gamma": (12,), "norm2.weight": (12,), "norm2.bias": (12,),
        "mlp.fc1.weight": (48, 12), "mlp.fc1.bias": (48,), "mlp.fc2.weight": (12, 48),
        "mlp.fc2.bias": (12,), "ls2.gamma": (12,),
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, 12), "mask_token": (1, 12), "pos_embed": (1, 1370, 12),
        "patch_embed.proj.weight": (12, 3, 14, 14), "patch_embed.proj.bias": (12,),
        "norm.weight": (12,), "norm.bias": (12,),
    }  # fmt: skip
    shapes |= {f"blocks.0.{name}": shape for name, shape in block.items()}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def test_names_of_the_released_file() -> None:
    """Queries, keys and values are the thirds of one matrix, in this order."""
    checkpoint = released_file()
    config, tensors = DinoV2.convert(checkpoint, SMALL, "hub")
    assert DinoV2(config).dim == 12
    for number, letter in enumerate("qkv"):
        third = checkpoint["blocks.0.attn.qkv.weight"][12 * number : 12 * number + 12]
        assert torch.equal(tensors[f"encoder.layer.0.attention.{letter}_proj.weight"], third)
    DinoV2(config).network().load_state_dict(tensors, strict=True)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("norm.bias", None, "missing layernorm.bias"),
        ("register_tokens", (1, 4, 12), "unexpected register_tokens"),
        ("norm.bias", (13,), "layernorm.bias has shape"),
        ("pos_embed", (1, 1369, 12), "not 1 . n x n"),
    ],
)
def test_files_that_do_not_fit(name: str, shape: tuple[int, ...] | None, message: str) -> None:
    """A model with registers, or a damaged file, is refused by name."""
    checkpoint = small.spoilt(released_file(), name, shape)
    with pytest.raises(CheckpointError, match=message):
        DinoV2.convert(checkpoint, SMALL, "hub")


def test_positions() -> None:
    """The class position stays; a table of the right size is left alone; flavours differ."""
    table = torch.randn(1, 1 + 37 * 37, 8)
    hub, transformers = (
        resample_position_table(table, 16, variant) for variant in ("hub", "transformers")
    )
    assert hub.shape == transformers.shape == (1, 257, 8)
    assert torch.equal(hub[:, 0], table[:, 0])
    assert not torch.allclose(hub, transformers, atol=1e-2)
    assert resample_position_table(hub, 16, "hub") is hub
