"""DINOv2's checkpoints, of the reference implementation and of the transformers library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.checkpoints.conversion import Checkpoint
from models.checkpoints.files import CheckpointError
from models.types import Tensors

if TYPE_CHECKING:
    import torch

POSITION_TABLE = "embeddings.position_embeddings"
CHECKPOINT = Checkpoint(
    rename={
        "cls_token": "embeddings.cls_token",
        "mask_token": "embeddings.mask_token",
        "pos_embed": POSITION_TABLE,
        "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
        "blocks.": "encoder.layer.",
        "norm.": "layernorm.",
    },
    replace={
        ".attn.proj.": ".attention.o_proj.",
        ".ls1.gamma": ".layer_scale1.lambda1",
        ".ls2.gamma": ".layer_scale2.lambda1",
        ".attention.attention.query.": ".attention.q_proj.",
        ".attention.attention.key.": ".attention.k_proj.",
        ".attention.attention.value.": ".attention.v_proj.",
        ".attention.output.dense.": ".attention.o_proj.",
    },
)


def split_qkv(tensors: Tensors) -> Tensors:
    """Tensors whose joint query-key-value layers, if any, are three layers."""
    split: Tensors = {}
    for name, tensor in tensors.items():
        if ".attn.qkv." not in name:
            split[name] = tensor
            continue
        for letter, third in zip("qkv", tensor.chunk(3), strict=True):
            layer = name.replace(".attn.qkv.", f".attention.{letter}_proj.")
            split[layer] = third.contiguous()
    return split


def resample_position_table(table: torch.Tensor, grid_size: int, variant: str) -> torch.Tensor:
    """A position table for another number of patches per side.

    timm's `resample_abs_pos_embed` fits the variant `transformers` alone.

    Args:
        table: (1, 1 + n * n, D): class position, then n x n positions row by row.
        grid_size: Patches per side.
        variant: `hub`: by the factor (grid_size + 0.1) / n, as the reference implementation does;
            `transformers`: to the size itself. They differ slightly.

    Returns:
        (1, 1 + grid_size ** 2, D).

    Raises:
        CheckpointError: The table is not square.
    """
    import torch
    from torch.nn import functional

    side = round((table.shape[1] - 1) ** 0.5)
    if table.shape[1] != 1 + side * side:
        raise CheckpointError(f"the position table has {table.shape[1]} rows, not 1 + n x n")
    if side == grid_size:
        return table
    grid = table[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    if variant == "hub":
        factor = (grid_size + 0.1) / side
        grid = functional.interpolate(grid, scale_factor=(factor, factor), mode="bicubic")
    else:
        grid = functional.interpolate(grid, size=(grid_size, grid_size), mode="bicubic")
    return torch.cat([table[:, :1].float(), grid.flatten(2).transpose(1, 2)], dim=1)
