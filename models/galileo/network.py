"""Galileo's encoder: one sequence of tokens from many kinds of inputs.

Source: Tseng et al., Galileo: Learning Global and Local Features of Many Remote Sensing
Modalities, arXiv:2502.09356. Parameters have the names of the released files.

Inputs come in four kinds: maps over time, maps, series, and single values. Each kind has groups
of channels, and each group gives one token per patch and time step, per patch, per time step, or
per region. Missing inputs give no tokens; nothing is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.galileo.tokens import (
    SPACE_GROUPS,
    SPACE_TIME_GROUPS,
    STATIC_GROUPS,
    TIME_GROUPS,
    ChannelGroups,
    GalileoTokens,
)
from models.layers.attention import Block, multi_head_attention
from models.layers.patch_embed import resized_kernels
from models.layers.positions import sincos_encoding

BASE_RESOLUTION_M = 10.0
"""Positions of patches are counted in pixels of this size."""

KINDS: Mapping[str, tuple[ChannelGroups, str]] = {
    "space_time": (SPACE_TIME_GROUPS, "s_t_channel_embed"),
    "space": (SPACE_GROUPS, "sp_channel_embed"),
    "time": (TIME_GROUPS, "t_channel_embed"),
    "static": (STATIC_GROUPS, "st_channel_embed"),
}
"""Per kind: its groups, and the parameter that holds their encodings."""

EmbedChannels = Callable[[nn.Module, Tensor, slice], Tensor]
"""Makes one token per cell from some channels of an input, with the embedding of their group."""


class PatchEmbedding(nn.Module):
    """Linear projection of patches whose size is chosen per call.

    Args:
        channels: Channels of the group.
        dim: Width D of the tokens.
        kernel_size: Side of the stored kernels, pixels.
    """

    def __init__(self, channels: int, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size, stride=kernel_size)

    def forward(self, maps: Tensor, patch_size: int) -> Tensor:
        """Tokens (N, h, w, D) of maps (N, C, H, W)."""
        kernels = resized_kernels(self.proj.weight, patch_size)
        tokens = functional.conv2d(maps, kernels, self.proj.bias, stride=patch_size)
        return tokens.permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Multi-head self-attention with separate projections."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        query, key, value = self.q(tokens), self.k(tokens), self.v(tokens)
        output: Tensor = self.proj(multi_head_attention(query, key, value, self.num_heads))
        return output


class GalileoEncoder(nn.Module):
    """The encoder.

    Args:
        dim: Width D of the tokens, a multiple of 16.
        depth: Blocks.
        num_heads: Attention heads.
        mlp_ratio: Width of the feed-forward layers in units of D.
        max_patch_size: Side of the stored kernels, pixels.
        max_frames: Limit on the time steps.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        max_patch_size: int,
        max_frames: int,
    ) -> None:
        super().__init__()
        quarter = dim // 4
        self.pos_embed = _fixed_embedding(max_frames, quarter)
        self.month_embed = nn.Embedding(12, quarter)
        self.s_t_channel_embed = _fixed_embedding(len(SPACE_TIME_GROUPS), quarter)
        self.sp_channel_embed = _fixed_embedding(len(SPACE_GROUPS), quarter)
        self.t_channel_embed = _fixed_embedding(len(TIME_GROUPS), quarter)
        self.st_channel_embed = _fixed_embedding(len(STATIC_GROUPS), quarter)
        self.space_time_embed = _patch_embeddings(SPACE_TIME_GROUPS, dim, max_patch_size)
        self.space_embed = _patch_embeddings(SPACE_GROUPS, dim, max_patch_size)
        self.time_embed = _linear_embeddings(TIME_GROUPS, dim)
        self.static_embed = _linear_embeddings(STATIC_GROUPS, dim)
        self.blocks = nn.ModuleList(
            Block(dim, Attention(dim, num_heads), mlp_ratio) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, inputs: Mapping[str, Tensor], months: Tensor, resolution_m: Tensor, patch_size: int
    ) -> GalileoTokens:
        """Tokens after the last norm.

        Args:
            inputs: By name as in the tables of groups, with a batch axis in front; at least one
                map over time.
            months: (B, T) 0 to 11.
            resolution_m: (B, 2) ground height and width of a pixel, meters.
            patch_size: Side of a patch, pixels; divides H and W.
        """
        embedded = self.embed(inputs, months, resolution_m, patch_size)
        sequence = embedded.sequence()
        for block in self.blocks:
            sequence = block(sequence)
        return embedded.with_sequence(self.norm(sequence))

    def embed(
        self, inputs: Mapping[str, Tensor], months: Tensor, resolution_m: Tensor, patch_size: int
    ) -> GalileoTokens:
        """Tokens before the first block: projected inputs plus their encodings.

        An encoding has four quarters: channel group, time step, month, position on the ground.
        Quarters that do not apply are zero.
        """
        maps = next(inputs[name] for name, _ in SPACE_TIME_GROUPS.values() if name in inputs)
        height, width = (side // patch_size for side in maps.shape[-2:])
        quarter = self.pos_embed.shape[1]
        steps = self.pos_embed[: months.shape[1]].expand(*months.shape, -1)
        time = torch.cat([steps, self.month_embed(months)], dim=-1)  # (B, T, D / 2)
        space = ground_position_encoding(height, width, resolution_m * patch_size, quarter)
        space = space.to(time)  # (B, h, w, D / 4)
        space_time = torch.cat(
            [
                time[:, None, None].expand(-1, height, width, -1, -1),
                space[:, :, :, None].expand(-1, -1, -1, months.shape[1], -1),
            ],
            dim=-1,
        )
        embed_frames = partial(_embed_frames, patch_size=patch_size)
        embed_map = partial(_embed_map, patch_size=patch_size)
        return GalileoTokens(
            self._embed_kind("space_time", embed_frames, inputs, space_time),
            self._embed_kind("space", embed_map, inputs, functional.pad(space, (2 * quarter, 0))),
            self._embed_kind("time", _embed_values, inputs, functional.pad(time, (0, quarter))),
            self._embed_kind(
                "static", _embed_values, inputs, space.new_zeros(len(months), 3 * quarter)
            ),
        )

    def _embed_kind(
        self,
        kind: str,
        embed_channels: EmbedChannels,
        inputs: Mapping[str, Tensor],
        encoding: Tensor,
    ) -> Tensor:
        """Tokens (..., groups, D) of one kind.

        `encoding` (..., 3 D / 4) lacks the quarter of the channel group.
        """
        groups, table_name = KINDS[kind]
        embeddings: Any = getattr(self, f"{kind}_embed")
        table: Tensor = getattr(self, table_name)
        tokens = [
            embed_channels(embeddings[group], inputs[name], channels)
            + torch.cat([row.expand(*encoding.shape[:-1], -1), encoding], dim=-1)
            for row, (group, (name, channels)) in zip(table, groups.items(), strict=True)
            if name in inputs
        ]
        if not tokens:
            return encoding.new_empty(*encoding.shape[:-1], 0, self.norm.normalized_shape[0])
        return torch.stack(tokens, dim=-2)


def _embed_frames(embedding: nn.Module, frames: Tensor, channels: slice, patch_size: int) -> Tensor:
    """Tokens (B, h, w, T, D) of maps over time (B, T, C, H, W)."""
    maps = frames[:, :, channels]
    tokens: Tensor = embedding(maps.flatten(0, 1), patch_size)
    return tokens.view(*maps.shape[:2], *tokens.shape[1:]).movedim(1, 3)


def _embed_map(embedding: nn.Module, maps: Tensor, channels: slice, patch_size: int) -> Tensor:
    """Tokens (B, h, w, D) of maps (B, C, H, W)."""
    tokens: Tensor = embedding(maps[:, channels], patch_size)
    return tokens


def _embed_values(embedding: nn.Module, values: Tensor, channels: slice) -> Tensor:
    """Tokens (..., D) of values (..., C)."""
    tokens: Tensor = embedding(values[..., channels])
    return tokens


def ground_position_encoding(height: int, width: int, patch_m: Tensor, dim: int) -> Tensor:
    """Encodings (B, height, width, dim) of the position of patches: half from x, half from y.

    Frequencies are 10000 ** (-i / dim) for i up to dim / 4, as in the reference implementation:
    they run from 1 to a tenth, where the standard exponent would give 1 to nearly 1/10000.

    Args:
        height: Patches.
        width: Patches.
        patch_m: (B, 2) ground height and width of a patch, meters.
        dim: Length of an encoding, a multiple of 4.
    """
    rows, columns = (
        sincos_encoding(
            torch.arange(count, device=patch_m.device) * patch_m[:, axis, None] / BASE_RESOLUTION_M,
            dim // 2,
            period=dim,
        )
        for axis, count in enumerate((height, width))
    )
    return torch.cat(
        [
            columns[:, None].expand(-1, height, -1, -1),
            rows[:, :, None].expand(-1, -1, width, -1),
        ],
        dim=-1,
    )


def _fixed_embedding(rows: int, dim: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, dim) * 0.02, requires_grad=False)


def _patch_embeddings(groups: ChannelGroups, dim: int, kernel_size: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            group: PatchEmbedding(channels.stop - channels.start, dim, kernel_size)
            for group, (_, channels) in groups.items()
        }
    )


def _linear_embeddings(groups: ChannelGroups, dim: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            group: nn.Linear(channels.stop - channels.start, dim)
            for group, (_, channels) in groups.items()
        }
    )
