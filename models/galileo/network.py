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

Groups = Mapping[str, tuple[str, slice]]

SPACE_TIME: Groups = {
    "S1": ("s1", slice(0, 2)),
    "S2_RGB": ("s2", slice(0, 3)),
    "S2_Red_Edge": ("s2", slice(3, 6)),
    "S2_NIR_10m": ("s2", slice(6, 7)),
    "S2_NIR_20m": ("s2", slice(7, 8)),
    "S2_SWIR": ("s2", slice(8, 10)),
    "NDVI": ("ndvi", slice(0, 1)),
}
"""Groups of maps over time (T, C, H, W): input and channels, in the order of their tokens."""
SPACE: Groups = {
    "SRTM": ("srtm", slice(0, 2)),
    "DW": ("dynamic_world", slice(0, 9)),
    "WC": ("worldcereal", slice(0, 5)),
}
"""Groups of maps (C, H, W)."""
TIME: Groups = {
    "ERA5": ("era5", slice(0, 2)),
    "TC": ("terraclimate", slice(0, 3)),
    "VIIRS": ("viirs", slice(0, 1)),
}
"""Groups of series (T, C)."""
STATIC: Groups = {
    "LS": ("landscan", slice(0, 1)),
    "location": ("location", slice(0, 3)),
    "DW_static": ("dynamic_world_static", slice(0, 9)),
    "WC_static": ("worldcereal_static", slice(0, 5)),
}
"""Groups of single values (C,)."""

BASE_RESOLUTION_M = 10.0
"""Positions of patches are counted in pixels of this size."""

Project = Callable[[nn.Module, Tensor, slice], Tensor]
"""Channels of an input to one token per cell, by the embedding of their group."""


@dataclass(frozen=True)
class Tokens:
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
        return torch.cat([part.flatten(1, -2) for part in self._parts()], dim=1)

    def with_sequence(self, sequence: Tensor) -> Tokens:
        """The same arrangement of other numbers (B, N, D)."""
        lengths = [part.flatten(1, -2).shape[1] for part in self._parts()]
        pieces = torch.split(sequence, lengths, dim=1)
        return Tokens(
            *(piece.view(part.shape) for piece, part in zip(pieces, self._parts(), strict=True))
        )

    def patches(self) -> Tensor:
        """Per patch (B, h, w, D): the mean of its own tokens and of those of no patch."""
        here = torch.cat([self.space_time.flatten(3, 4), self.space], dim=3)
        everywhere = torch.cat([self.time.flatten(1, 2), self.static], dim=1)
        count = here.shape[3] + everywhere.shape[1]
        return (here.sum(dim=3) + everywhere.sum(dim=1)[:, None, None]) / count

    def _parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.space_time, self.space, self.time, self.static


class PatchEmbedding(nn.Module):
    """Linear projection of patches whose size is chosen per call.

    Args:
        channels: Channels of the group.
        dim: Width D of the tokens.
        patch: Side of the stored kernels, pixels; also the largest.
    """

    def __init__(self, channels: int, dim: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, patch, stride=patch)

    def forward(self, maps: Tensor, patch: int) -> Tensor:
        """Tokens (N, h, w, D) of maps (N, C, H, W)."""
        weight = self.proj.weight
        if patch != weight.shape[-1]:
            matrix = resize_matrix(weight.shape[-1], patch).to(weight)
            weight = (weight.flatten(2) @ matrix.T).view(*weight.shape[:2], patch, patch)
        return functional.conv2d(maps, weight, self.proj.bias, stride=patch).permute(0, 2, 3, 1)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        query, key, value = (
            part(tokens).view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)
            for part in (self.q, self.k, self.v)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        projected: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return projected


class Block(nn.Module):
    """Attention and feed-forward, each after a norm and added to what it read."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        added: Tensor = tokens + self.mlp(self.norm2(tokens))
        return added


class Galileo(nn.Module):
    """The encoder.

    Args:
        dim: Width D of the tokens, a multiple of 16.
        depth: Blocks.
        heads: Attention heads.
        mlp_ratio: Width of the feed-forward layers in units of D.
        patch: Side of the stored kernels, pixels.
        frames: Most time steps.
    """

    def __init__(
        self, dim: int, depth: int, heads: int, mlp_ratio: float, patch: int, frames: int
    ) -> None:
        super().__init__()
        quarter = dim // 4
        self.pos_embed = _table(frames, quarter)
        self.month_embed = nn.Embedding(12, quarter)
        self.s_t_channel_embed = _table(len(SPACE_TIME), quarter)
        self.sp_channel_embed = _table(len(SPACE), quarter)
        self.t_channel_embed = _table(len(TIME), quarter)
        self.st_channel_embed = _table(len(STATIC), quarter)
        self.space_time_embed = _patch_embeddings(SPACE_TIME, dim, patch)
        self.space_embed = _patch_embeddings(SPACE, dim, patch)
        self.time_embed = _linear_embeddings(TIME, dim)
        self.static_embed = _linear_embeddings(STATIC, dim)
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, inputs: Mapping[str, Tensor], months: Tensor, resolution_m: Tensor, patch: int
    ) -> Tokens:
        """Tokens after the last norm.

        Args:
            inputs: By name, as in the tables of groups, each with a batch axis in front; at
                least one map over time.
            months: (B, T) 0 to 11.
            resolution_m: (B, 2) ground height and width of a pixel, metres.
            patch: Side of a patch, pixels; divides H and W.
        """
        embedded = self.embedded(inputs, months, resolution_m, patch)
        sequence = embedded.sequence()
        for block in self.blocks:
            sequence = block(sequence)
        return embedded.with_sequence(self.norm(sequence))

    def embedded(
        self, inputs: Mapping[str, Tensor], months: Tensor, resolution_m: Tensor, patch: int
    ) -> Tokens:
        """Tokens before the first block: projected inputs plus what, when and where they are.

        A token's encoding has four quarters: channel group, place in the series, month, place on
        the ground. Quarters that do not apply are zero.
        """
        maps = next(inputs[name] for name, _ in SPACE_TIME.values() if name in inputs)
        height, width = (side // patch for side in maps.shape[-2:])
        quarter = self.pos_embed.shape[1]
        steps = self.pos_embed[: months.shape[1]].expand(*months.shape, -1)
        when = torch.cat([steps, self.month_embed(months)], dim=-1)  # (B, T, D / 2)
        where = ground_positions(height, width, resolution_m * patch, quarter).to(when)
        both = [
            when[:, None, None].expand(-1, height, width, -1, -1),
            where[:, :, :, None].expand(-1, -1, -1, months.shape[1], -1),
        ]
        nowhere = where.new_zeros(len(months), 3 * quarter)

        def over_time(embedding: nn.Module, series: Tensor, channels: slice) -> Tensor:
            maps = series[:, :, channels]
            tokens: Tensor = embedding(maps.flatten(0, 1), patch)
            return tokens.view(*maps.shape[:2], *tokens.shape[1:]).movedim(1, 3)

        def one_map(embedding: nn.Module, maps: Tensor, channels: slice) -> Tensor:
            tokens: Tensor = embedding(maps[:, channels], patch)
            return tokens

        def values(embedding: nn.Module, given: Tensor, channels: slice) -> Tensor:
            tokens: Tensor = embedding(given[..., channels])
            return tokens

        return Tokens(
            self._kind("space_time", over_time, SPACE_TIME, inputs, torch.cat(both, dim=-1)),
            self._kind("space", one_map, SPACE, inputs, functional.pad(where, (2 * quarter, 0))),
            self._kind("time", values, TIME, inputs, functional.pad(when, (0, quarter))),
            self._kind("static", values, STATIC, inputs, nowhere),
        )

    def _kind(
        self,
        kind: str,
        project: Project,
        groups: Groups,
        inputs: Mapping[str, Tensor],
        place: Tensor,
    ) -> Tensor:
        """Tokens (..., groups, D) of one kind; `place` (..., 3 D / 4) says when and where."""
        embeddings: Any = getattr(self, f"{kind}_embed")
        table: Tensor = getattr(self, CHANNEL_TABLES[kind])
        tokens = [
            project(embeddings[group], inputs[name], channels)
            + torch.cat([row.expand(*place.shape[:-1], -1), place], dim=-1)
            for row, (group, (name, channels)) in zip(table, groups.items(), strict=True)
            if name in inputs
        ]
        if not tokens:
            return place.new_empty(*place.shape[:-1], 0, self.norm.normalized_shape[0])
        return torch.stack(tokens, dim=-2)


CHANNEL_TABLES = {
    "space_time": "s_t_channel_embed",
    "space": "sp_channel_embed",
    "time": "t_channel_embed",
    "static": "st_channel_embed",
}
"""Names of the tables of channel groups, by kind."""


def ground_positions(height: int, width: int, step_m: Tensor, dim: int) -> Tensor:
    """Encodings (B, height, width, dim) of where patches lie: half from x, half from y.

    Args:
        height: Patches.
        width: Patches.
        step_m: (B, 2) ground height and width of a patch, metres.
        dim: Length of an encoding, a multiple of 4.
    """
    halves = [
        sines(torch.arange(count, device=step_m.device) * step_m[:, axis, None], dim // 2)
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


def sines(metres: Tensor, dim: int) -> Tensor:
    """Sines, then cosines (..., dim) of positions (...) at dim / 2 frequencies.

    The i-th frequency is 10000 ** (-i / dim / 2), so that they run from 1 to about a tenth, as
    in the authors' code; the usual exponent is -i / (dim / 2).
    """
    exponents = torch.arange(dim // 2, device=metres.device, dtype=torch.float64) / dim / 2
    angles = (metres.double() / BASE_RESOLUTION_M)[..., None] / 10_000**exponents
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


@cache
def resize_matrix(stored: int, wanted: int) -> Tensor:
    """The matrix (wanted ** 2, stored ** 2) that brings a kernel to another size.

    It is the pseudo-inverse of the (transposed) bicubic, antialiased resize of a patch, so that
    a resized patch gives with the resized kernel what the patch gives with the stored one, as
    nearly as can be.
    """
    with torch.inference_mode(False):
        pixels = torch.eye(stored**2).reshape(-1, 1, stored, stored)
        resized = functional.interpolate(
            pixels, (wanted, wanted), mode="bicubic", antialias=True, align_corners=False
        )
        inverse: Tensor = torch.linalg.pinv(resized.flatten(1))
        return inverse


def _table(rows: int, dim: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, dim) * 0.02, requires_grad=False)


def _patch_embeddings(groups: Groups, dim: int, patch: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            group: PatchEmbedding(channels.stop - channels.start, dim, patch)
            for group, (_, channels) in groups.items()
        }
    )


def _linear_embeddings(groups: Groups, dim: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            group: nn.Linear(channels.stop - channels.start, dim)
            for group, (_, channels) in groups.items()
        }
    )
