"""Galileo's encoder: one sequence of tokens from many kinds of inputs.

Source: Tseng et al., Galileo: Learning Global and Local Features of Many Remote Sensing
Modalities, arXiv:2502.09356. Parameters have the names of the released files.

Inputs come in four kinds: maps over time, maps, series, and single values. Each kind has groups
of channels, and each group gives one token per patch and time step, patch, time step, or place.
Groups of inputs that are not there give no tokens; nothing is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ChannelGroups = Mapping[str, tuple[str, slice]]

SPACE_TIME_GROUPS: ChannelGroups = {
    "S1": ("s1", slice(0, 2)),
    "S2_RGB": ("s2", slice(0, 3)),
    "S2_Red_Edge": ("s2", slice(3, 6)),
    "S2_NIR_10m": ("s2", slice(6, 7)),
    "S2_NIR_20m": ("s2", slice(7, 8)),
    "S2_SWIR": ("s2", slice(8, 10)),
    "NDVI": ("ndvi", slice(0, 1)),
}
"""Groups of maps over time (T, C, H, W): input and channels, in the order of their tokens."""
SPACE_GROUPS: ChannelGroups = {
    "SRTM": ("srtm", slice(0, 2)),
    "DW": ("dynamic_world", slice(0, 9)),
    "WC": ("worldcereal", slice(0, 5)),
}
"""Groups of maps (C, H, W)."""
TIME_GROUPS: ChannelGroups = {
    "ERA5": ("era5", slice(0, 2)),
    "TC": ("terraclimate", slice(0, 3)),
    "VIIRS": ("viirs", slice(0, 1)),
}
"""Groups of series (T, C)."""
STATIC_GROUPS: ChannelGroups = {
    "LS": ("landscan", slice(0, 1)),
    "location": ("location", slice(0, 3)),
    "DW_static": ("dynamic_world_static", slice(0, 9)),
    "WC_static": ("worldcereal_static", slice(0, 5)),
}
"""Groups of single values (C,)."""

BASE_RESOLUTION_M = 10.0
"""Positions of patches are counted in pixels of this size."""

EmbedChannels = Callable[[nn.Module, Tensor, slice], Tensor]
"""Channels of an input to one token per cell, by the embedding of their group."""


@dataclass(frozen=True)
class GalileoTokens:
    """Encoded tokens of the groups that are there.

    Attributes:
        space_time: ``(B, h, w, T, groups, D)``.
        space: ``(B, h, w, groups, D)``.
        time: ``(B, T, groups, D)``.
        static: ``(B, groups, D)``.
    """

    space_time: Tensor
    space: Tensor
    time: Tensor
    static: Tensor

    def sequence(self) -> Tensor:
        """All tokens (B, N, D), kind after kind."""
        return torch.cat([part.flatten(1, -2) for part in self._tensors()], dim=1)

    def with_sequence(self, sequence: Tensor) -> GalileoTokens:
        """The same arrangement of other numbers (B, N, D)."""
        lengths = [part.flatten(1, -2).shape[1] for part in self._tensors()]
        pieces = torch.split(sequence, lengths, dim=1)
        return GalileoTokens(
            *(piece.view(part.shape) for piece, part in zip(pieces, self._tensors(), strict=True))
        )

    def patch_means(self) -> Tensor:
        """Per patch (B, h, w, D): the mean of its own tokens and of those of no patch."""
        here = torch.cat([self.space_time.flatten(3, 4), self.space], dim=3)
        everywhere = torch.cat([self.time.flatten(1, 2), self.static], dim=1)
        count = here.shape[3] + everywhere.shape[1]
        return (here.sum(dim=3) + everywhere.sum(dim=1)[:, None, None]) / count

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.space_time, self.space, self.time, self.static


class PatchEmbedding(nn.Module):
    """Linear projection of patches whose size is chosen per call.

    Args:
        channels: Channels of the group.
        dim: Width D of the tokens.
        kernel_size: Side of the stored kernels, pixels; also the largest.
    """

    def __init__(self, channels: int, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size, stride=kernel_size)

    def forward(self, maps: Tensor, patch_size: int) -> Tensor:
        """Tokens (N, h, w, D) of maps (N, C, H, W)."""
        weight = self.proj.weight
        if patch_size != weight.shape[-1]:
            matrix = kernel_resize_matrix(weight.shape[-1], patch_size).to(weight)
            weight = (weight.flatten(2) @ matrix.T).view(*weight.shape[:2], patch_size, patch_size)
        return functional.conv2d(maps, weight, self.proj.bias, stride=patch_size).permute(
            0, 2, 3, 1
        )


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        query, key, value = (
            part(tokens).view(*tokens.shape[:2], self.num_heads, -1).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        projected: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return projected


class Block(nn.Module):
    """Attention and feed-forward, each after a norm and added to what it read."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        added: Tensor = tokens + self.mlp(self.norm2(tokens))
        return added


class GalileoEncoder(nn.Module):
    """The encoder.

    Args:
        dim: Width D of the tokens, a multiple of 16.
        depth: Blocks.
        num_heads: Attention heads.
        mlp_ratio: Width of the feed-forward layers in units of D.
        max_patch_size: Side of the stored kernels, pixels.
        max_frames: Most time steps.
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
        self.blocks = nn.ModuleList(Block(dim, num_heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, inputs: Mapping[str, Tensor], months: Tensor, resolution_m: Tensor, patch_size: int
    ) -> GalileoTokens:
        """Tokens after the last norm.

        Args:
            inputs: By name, as in the tables of groups, each with a batch axis in front; at
                least one map over time.
            months: (B, T) 0 to 11.
            resolution_m: (B, 2) ground height and width of a pixel, metres.
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
        """Tokens before the first block: projected inputs plus what, when and where they are.

        A token's encoding has four quarters: channel group, place in the series, month, place on
        the ground. Quarters that do not apply are zero.
        """
        maps = next(inputs[name] for name, _ in SPACE_TIME_GROUPS.values() if name in inputs)
        height, width = (side // patch_size for side in maps.shape[-2:])
        quarter = self.pos_embed.shape[1]
        steps = self.pos_embed[: months.shape[1]].expand(*months.shape, -1)
        when = torch.cat([steps, self.month_embed(months)], dim=-1)  # (B, T, D / 2)
        where = ground_position_encoding(height, width, resolution_m * patch_size, quarter).to(when)
        both = [
            when[:, None, None].expand(-1, height, width, -1, -1),
            where[:, :, :, None].expand(-1, -1, -1, months.shape[1], -1),
        ]
        nowhere = where.new_zeros(len(months), 3 * quarter)

        def over_time(embedding: nn.Module, series: Tensor, channels: slice) -> Tensor:
            maps = series[:, :, channels]
            tokens: Tensor = embedding(maps.flatten(0, 1), patch_size)
            return tokens.view(*maps.shape[:2], *tokens.shape[1:]).movedim(1, 3)

        def one_map(embedding: nn.Module, maps: Tensor, channels: slice) -> Tensor:
            tokens: Tensor = embedding(maps[:, channels], patch_size)
            return tokens

        def values(embedding: nn.Module, given: Tensor, channels: slice) -> Tensor:
            tokens: Tensor = embedding(given[..., channels])
            return tokens

        return GalileoTokens(
            self._embed_kind(
                "space_time", over_time, SPACE_TIME_GROUPS, inputs, torch.cat(both, dim=-1)
            ),
            self._embed_kind(
                "space", one_map, SPACE_GROUPS, inputs, functional.pad(where, (2 * quarter, 0))
            ),
            self._embed_kind(
                "time", values, TIME_GROUPS, inputs, functional.pad(when, (0, quarter))
            ),
            self._embed_kind("static", values, STATIC_GROUPS, inputs, nowhere),
        )

    def _embed_kind(
        self,
        kind: str,
        embed_channels: EmbedChannels,
        groups: ChannelGroups,
        inputs: Mapping[str, Tensor],
        encoding: Tensor,
    ) -> Tensor:
        """Tokens (..., groups, D) of one kind; `encoding` (..., 3 D / 4) says when and where."""
        embeddings: Any = getattr(self, f"{kind}_embed")
        table: Tensor = getattr(self, CHANNEL_EMBEDDINGS[kind])
        tokens = [
            embed_channels(embeddings[group], inputs[name], channels)
            + torch.cat([row.expand(*encoding.shape[:-1], -1), encoding], dim=-1)
            for row, (group, (name, channels)) in zip(table, groups.items(), strict=True)
            if name in inputs
        ]
        if not tokens:
            return encoding.new_empty(*encoding.shape[:-1], 0, self.norm.normalized_shape[0])
        return torch.stack(tokens, dim=-2)


CHANNEL_EMBEDDINGS = {
    "space_time": "s_t_channel_embed",
    "space": "sp_channel_embed",
    "time": "t_channel_embed",
    "static": "st_channel_embed",
}
"""Names of the tables of channel groups, by kind."""


def ground_position_encoding(height: int, width: int, patch_m: Tensor, dim: int) -> Tensor:
    """Encodings (B, height, width, dim) of where patches lie: half from x, half from y.

    Args:
        height: Patches.
        width: Patches.
        patch_m: (B, 2) ground height and width of a patch, metres.
        dim: Length of an encoding, a multiple of 4.
    """
    halves = [
        sincos_encoding(
            torch.arange(count, device=patch_m.device) * patch_m[:, axis, None], dim // 2
        )
        for axis, count in enumerate((height, width))
    ]
    rows, columns = halves
    return torch.cat(
        [
            columns[:, None].expand(-1, height, -1, -1),
            rows[:, :, None].expand(-1, -1, width, -1),
        ],
        dim=-1,
    )


def sincos_encoding(metres: Tensor, dim: int) -> Tensor:
    """Sines, then cosines (..., dim) of positions (...) at dim / 2 frequencies.

    The i-th frequency is 10000 ** (-i / dim / 2), so that they run from 1 to about a tenth, as
    in the authors' code; the usual exponent is -i / (dim / 2).
    """
    exponents = torch.arange(dim // 2, device=metres.device, dtype=torch.float64) / dim / 2
    angles = (metres.double() / BASE_RESOLUTION_M)[..., None] / 10_000**exponents
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


@cache
def kernel_resize_matrix(kernel_size: int, patch_size: int) -> Tensor:
    """The matrix (wanted ** 2, stored ** 2) that brings a kernel to another size.

    It is the pseudo-inverse of the (transposed) bicubic, antialiased resize of a patch, so that
    a resized patch gives with the resized kernel what the patch gives with the stored one, as
    nearly as can be.
    """
    with torch.inference_mode(False):
        pixels = torch.eye(kernel_size**2).reshape(-1, 1, kernel_size, kernel_size)
        resized = functional.interpolate(
            pixels, (patch_size, patch_size), mode="bicubic", antialias=True, align_corners=False
        )
        inverse: Tensor = torch.linalg.pinv(resized.flatten(1))
        return inverse


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
