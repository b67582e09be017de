"""AnySat's encoder: patches of a chosen ground size, from sensors of any resolution.

Source: Astruc et al., AnySat: One Earth Observation Model for Many Resolutions, Scales, and
Modalities, arXiv:2412.14123. Parameters have the names of the released file.

Every sensor has its own projector, which makes one token per pixel of a series or per block of
pixels of an aerial image: the sub-patches. One spatial encoder turns the sub-patches of a patch
into one token. Blocks then let the patches of all sensors attend to each other. A final
cross-attention gives one token per patch, whatever the number of sensors.

Relative positions are computed from the query of the first head and added to all heads. The
reference implementation does so without its optional compiled operator, which is how it is
installed and loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.anysat.attention import Attention, CrossBlock
from models.anysat.card import CELL_M
from models.anysat.chunks import map_chunks
from models.anysat.encodings import distance_buckets, position_encoding
from models.anysat.projectors import (
    AERIAL_PIXELS_PER_CELL,
    SUBPATCH_PIXELS,
    AerialProjector,
    SeriesProjector,
)
from models.layers.attention import Block

SERIES_CHANNELS = {"s2": 10, "s1": 3}
"""Channels of the sensors with a time axis."""
AERIAL = "aerial"


class SpatialEncoder(nn.Module):
    """Merges the sub-patches of a patch into one token."""

    def __init__(self, dim: int, depth: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.predictor_blocks = nn.ModuleList(
            Block(dim, Attention(dim, num_heads, relative=True), mlp_ratio) for _ in range(depth)
        )
        self.predictor_norm = nn.LayerNorm(dim)

    def forward(self, subpatches: Tensor, subpatch_m: float) -> Tensor:
        """(N, n, D) of square patches to (N, D).

        Positions are assigned row by row, even where a projector lists sub-patches in another
        order, as in the reference implementation.

        Args:
            subpatches: Sub-patch tokens.
            subpatch_m: Ground size of a sub-patch, meters.
        """
        side = math.isqrt(subpatches.shape[1])
        device = subpatches.device
        encodings = position_encoding(side, side, subpatch_m, subpatches.shape[2], device)
        encodings = encodings.to(subpatches)
        buckets = distance_buckets(side, side, device)
        return map_chunks(lambda chunk: self._encode(chunk + encodings, buckets), subpatches)

    def _encode(self, subpatches: Tensor, buckets: Tensor) -> Tensor:
        tokens = torch.cat([self.cls_token.expand(len(subpatches), -1, -1), subpatches], dim=1)
        for block in self.predictor_blocks:
            tokens = block(tokens, buckets)
        merged: Tensor = self.predictor_norm(tokens[:, 0])
        return merged


class AnySatEncoder(nn.Module):
    """The encoder, with projectors for `SERIES_CHANNELS` and aerial images.

    Args:
        embed_dim: Width D of the tokens, a multiple of 16.
        depth: Blocks of the spatial encoder, and as many between it and the cross-attention.
        num_heads: Attention heads.
        mlp_ratio: Width of the feed-forward layers in units of D.
        mlp_in: Widths of the layers of the projectors of series; the last is D.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        mlp_in: Sequence[int],
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, embed_dim) * 0.02)
        self.projectors = nn.ModuleDict(
            {
                name: SeriesProjector(channels, mlp_in, embed_dim, norm=name == "s2")
                for name, channels in SERIES_CHANNELS.items()
            }
            | {AERIAL: AerialProjector(embed_dim)}
        )
        self.spatial_encoder = SpatialEncoder(embed_dim, depth, num_heads, mlp_ratio)
        self.blocks = nn.ModuleList(
            Block(embed_dim, Attention(embed_dim, num_heads, relative=False), mlp_ratio, eps=1e-6)
            for _ in range(depth)
        )
        self.blocks.append(CrossBlock(embed_dim, num_heads, mlp_ratio, eps=1e-6))

    def forward(
        self, inputs: Mapping[str, Tensor], grid_shape: tuple[int, int], patch_m: int
    ) -> Tensor:
        """Tokens after the cross-attention; no norm follows it.

        Args:
            inputs: Per series `<name>` (B, T, C, H, W), `<name>_days` (B, T) and
                `<name>_missing` (B, T, H, W); `aerial` (B, C, H, W). At least one, all of the
                same ground.
            grid_shape: Patches (high, wide).
            patch_m: Ground size of a patch, meters, a multiple of 10.

        Returns:
            (B, 1 + patches, D): the class token, then the patches row by row.
        """
        cells = patch_m // CELL_M
        device = self.cls_token.device
        encodings = position_encoding(*grid_shape, cells, self.cls_token.shape[-1], device)
        encodings = encodings.to(self.cls_token)
        sensors = [
            self._embed_patches(name, inputs, cells) + encodings
            for name in self.projectors
            if name in inputs
        ]
        class_token = self.cls_token.expand(len(sensors[0]), -1, -1)
        tokens = torch.cat([class_token, *sensors], dim=1)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        buckets = distance_buckets(*grid_shape, device)
        buckets = torch.cat([buckets[:, :1], buckets[:, 1:].repeat(1, len(sensors))], dim=1)
        output: Tensor = self.blocks[-1](tokens, functional.pad(encodings, (0, 0, 1, 0)), buckets)
        return output

    def _embed_patches(
        self, name: str, inputs: Mapping[str, Tensor], cells_per_patch: int
    ) -> Tensor:
        """Tokens (B, patches, D) of one sensor."""
        projector = self.projectors[name]
        if name == AERIAL:
            subpatches = projector(inputs[name], cells_per_patch)
            subpatch_m = CELL_M * SUBPATCH_PIXELS / AERIAL_PIXELS_PER_CELL
        else:
            series = inputs[name], inputs[f"{name}_days"], inputs[f"{name}_missing"]
            subpatches = projector(*series, cells_per_patch)
            subpatch_m = float(CELL_M)
        tokens: Tensor = self.spatial_encoder(subpatches.flatten(0, 1), subpatch_m)
        return tokens.view(*subpatches.shape[:2], -1)
