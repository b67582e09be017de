"""Projectors of AnySat: from pixels of one sensor to sub-patch tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from models.anysat.chunks import map_chunks
from models.anysat.encodings import encode_days

AERIAL_CHANNELS = 4
AERIAL_PIXELS_PER_CELL = 50
"""Pixels of an aerial image along a cell of 10 m: 0.2 m each."""
SUBPATCH_PIXELS = 10
"""Pixels of an aerial image along a sub-patch."""

TEMPORAL_HEADS = 16
"""Heads of the attention over time, and groups of the norms over a whole series."""
TEMPORAL_KEY_DIM = 8
"""Width of a key of that attention."""
PROJECTOR_NORM_GROUPS = 4
"""Groups of the norms inside the projectors of series."""


class SeriesProjector(nn.Module):
    """One token per pixel of a series of images.

    Args:
        channels: Channels of an image.
        widths: Widths of the layers before the attention over time.
        dim: Width D of the tokens.
        norm: Whether channels are normalized over time before that attention.
    """

    def __init__(self, channels: int, widths: Sequence[int], dim: int, *, norm: bool) -> None:
        super().__init__()
        self.pad_parameter = nn.Parameter(torch.zeros(()))
        self.patch_embed = TemporalEncoder(channels, widths, dim, norm=norm)

    def forward(self, maps: Tensor, days: Tensor, missing: Tensor, patch_pixels: int) -> Tensor:
        """Sub-patch tokens of all patches, row by row.

        Args:
            maps: (B, T, C, H, W).
            days: (B, T) days of the year, from 0.
            missing: (B, T, H, W) pixels without data.
            patch_pixels: Pixels along a patch; divides H and W.

        Returns:
            (B, patches, patch_pixels ** 2, D).
        """
        maps = torch.where(missing[:, :, None], self.pad_parameter, maps)
        high, wide = (side // patch_pixels for side in maps.shape[-2:])
        patches = maps.view(*maps.shape[:3], high, patch_pixels, wide, patch_pixels)
        pixels = patches.permute(0, 3, 5, 4, 6, 1, 2)  # (B, h, w, rows, columns, T, C)
        encodings = encode_days(days, self.patch_embed.width, TEMPORAL_HEADS).to(maps)
        tokens = [
            map_chunks(partial(self.patch_embed, day_encodings=day_encodings), series)
            for series, day_encodings in zip(pixels.flatten(1, 4), encodings, strict=True)
        ]
        return torch.stack(tokens).view(len(maps), high * wide, patch_pixels**2, -1)


class TemporalEncoder(nn.Module):
    """Attention over time with learned queries, for every pixel on its own."""

    def __init__(self, channels: int, widths: Sequence[int], dim: int, *, norm: bool) -> None:
        super().__init__()
        self.width = widths[-1]
        layers: list[nn.Module] = []
        for before, after in zip((channels, *widths), widths, strict=False):
            # Identity stands for the dropout of the reference implementation; it keeps the names.
            group_norm = nn.GroupNorm(PROJECTOR_NORM_GROUPS, after)
            layers += [nn.Linear(before, after), group_norm, nn.ReLU(), nn.Identity()]
        self.inconv = nn.Sequential(*layers)
        self.in_norm = nn.GroupNorm(TEMPORAL_HEADS, self.width) if norm else nn.Identity()
        self.attention_heads = LearnedQueryAttention(self.width)
        self.mlp = nn.Sequential(
            nn.Linear(self.width, dim), nn.GroupNorm(PROJECTOR_NORM_GROUPS, dim), nn.ReLU()
        )
        self.out_norm = nn.GroupNorm(TEMPORAL_HEADS, dim)

    def forward(self, series: Tensor, day_encodings: Tensor) -> Tensor:
        """Tokens (N, D) of pixels (N, T, C) and their encoded dates (T, width)."""
        hidden = self.inconv(series.flatten(0, 1)).view(*series.shape[:2], -1)
        hidden = self.in_norm(hidden.transpose(1, 2)).transpose(1, 2) + day_encodings
        tokens: Tensor = self.out_norm(self.mlp(self.attention_heads(hidden)))
        return tokens


class LearnedQueryAttention(nn.Module):
    """A weighted mean over time; every head has its own query and a share of the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        scale = (2 / TEMPORAL_KEY_DIM) ** 0.5
        self.Q = nn.Parameter(torch.randn(TEMPORAL_HEADS, TEMPORAL_KEY_DIM) * scale)
        self.fc1_k = nn.Linear(width, TEMPORAL_HEADS * TEMPORAL_KEY_DIM)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, T, width) to (N, width)."""
        keys = self.fc1_k(hidden).view(*hidden.shape[:2], TEMPORAL_HEADS, TEMPORAL_KEY_DIM)
        scores = torch.einsum("nthk,hk->nht", keys, self.Q) / math.sqrt(TEMPORAL_KEY_DIM)
        values = hidden.reshape(*hidden.shape[:2], TEMPORAL_HEADS, -1)
        return torch.einsum("nht,nthc->nhc", scores.softmax(dim=-1), values).flatten(1)


class AerialProjector(nn.Module):
    """One token per block of pixels of an aerial image."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(
            AERIAL_CHANNELS, dim, SUBPATCH_PIXELS, stride=SUBPATCH_PIXELS, bias=False
        )
        self.mlp = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.LayerNorm(2 * dim), nn.ReLU(),
            nn.Linear(2 * dim, dim), nn.LayerNorm(dim), nn.ReLU(),
        )  # fmt: skip

    def forward(self, image: Tensor, cells_per_patch: int) -> Tensor:
        """Sub-patch tokens of all patches; within a patch cell by cell.

        Args:
            image: (B, C, H, W).
            cells_per_patch: Cells along a patch.

        Returns:
            (B, patches, sub-patches, D).
        """
        blocks = self.patch_embed(image)
        side = AERIAL_PIXELS_PER_CELL // SUBPATCH_PIXELS
        high, wide = (length // (cells_per_patch * side) for length in blocks.shape[-2:])
        patches = blocks.view(
            *blocks.shape[:2], high, cells_per_patch, side, wide, cells_per_patch, side
        )
        by_cell = patches.permute(0, 2, 5, 3, 6, 4, 7, 1)  # (B, h, w, cells, cells, 5, 5, D)
        tokens: Tensor = self.mlp(by_cell.flatten(3, 6).flatten(1, 2))
        return tokens
