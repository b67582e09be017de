"""AnySat's encoder: patches of a size on the ground, from sensors of any resolution.

Source: Astruc et al., AnySat: One Earth Observation Model for Many Resolutions, Scales, and
Modalities, arXiv:2412.14123. Parameters have the names of the released file.

Every sensor has a projector of its own, which makes one token per pixel of a series, or per block
of pixels of an aerial image: the sub-patches. One spatial encoder turns those of a patch into one
token. Blocks then let the patches of all sensors attend to each other, and a last cross-attention
answers once per patch, whatever the number of sensors.

Relative positions are read from the query of the first head and serve all heads. That is what the
authors' code computes without its compiled operator, which is how it is installed and loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.galileo.network import FeedForward

CELL_M = 10
"""Ground size of a pixel of a series, metres; patches are a multiple of it."""
SERIES_CHANNELS = {"s2": 10, "s1": 3}
"""Channels of the sensors that come as series."""
AERIAL = "aerial"
AERIAL_CHANNELS = 4
AERIAL_PIXELS_PER_CELL = 50
"""Pixels of an aerial image along a cell: 0.2 m each."""
SUBPATCH_PIXELS = 10
"""Pixels of an aerial image along a sub-patch."""

TEMPORAL_HEADS = 16
"""Heads over time, and groups of the norms of series as a whole."""
TEMPORAL_KEY_DIM = 8
"""Width of a key over time."""
PROJECTOR_NORM_GROUPS = 4
"""Groups of the norms within the projectors of series."""
DAY_ENCODING_BASE = 367
"""Base of the frequencies at which days of the year are encoded."""
CHUNK_SIZE = 2**14
"""Pixels times dates, or sub-patches, that are computed together, to bound the memory."""

DISTANCE_BUCKETS = (3, 4, 5, 5, 6)
"""Row of the table of relative positions by rounded distance; the last is for all beyond."""
CLS_BUCKET = 7
"""Row for pairs with the class token."""
NUM_BUCKETS = 8
"""Rows of the table; those that stand for negative distances are never read."""


class SeriesProjector(nn.Module):
    """One token per pixel of a series of images.

    Args:
        channels: Channels of an image.
        widths: Widths of the layers before the attention over time.
        dim: Width D of the tokens.
        norm: Whether channels are normalised over time before that attention.
    """

    def __init__(self, channels: int, widths: Sequence[int], dim: int, *, norm: bool) -> None:
        super().__init__()
        self.pad_parameter = nn.Parameter(torch.zeros(()))
        self.patch_embed = TemporalEncoder(channels, widths, dim, norm=norm)

    def forward(self, maps: Tensor, days: Tensor, missing: Tensor, patch_pixels: int) -> Tensor:
        """Sub-patches of all patches, in rows.

        Args:
            maps: (B, T, C, H, W).
            days: (B, T) days of the year, from 0.
            missing: (B, T, H, W) pixels without data.
            patch_pixels: Pixels along a patch; divides H and W.

        Returns:
            (B, patches, cells ** 2, D).
        """
        maps = torch.where(missing[:, :, None], self.pad_parameter, maps)
        high, wide = (side // patch_pixels for side in maps.shape[-2:])
        split = maps.view(*maps.shape[:3], high, patch_pixels, wide, patch_pixels)
        pixels = split.permute(0, 3, 5, 4, 6, 1, 2)  # (B, h, w, cells, cells, T, C)
        encoded = encode_days(days, self.patch_embed.width).to(maps)
        at_once = max(1, CHUNK_SIZE // maps.shape[1])
        tokens = [
            torch.cat([self.patch_embed(part, when) for part in torch.split(series, at_once)])
            for series, when in zip(pixels.flatten(1, 4), encoded, strict=True)
        ]
        return torch.stack(tokens).view(len(maps), high * wide, patch_pixels**2, -1)


class TemporalEncoder(nn.Module):
    """Attention over time with learned queries, of each pixel by itself."""

    def __init__(self, channels: int, widths: Sequence[int], dim: int, *, norm: bool) -> None:
        super().__init__()
        self.width = widths[-1]
        layers: list[nn.Module] = []
        for before, after in zip((channels, *widths), widths, strict=False):
            # The last stands where the authors have a dropout.
            layers += [
                nn.Linear(before, after),
                nn.GroupNorm(PROJECTOR_NORM_GROUPS, after),
                nn.ReLU(),
            ]
            layers += [nn.Identity()]
        self.inconv = nn.Sequential(*layers)
        self.in_norm = nn.GroupNorm(TEMPORAL_HEADS, self.width) if norm else nn.Identity()
        self.attention_heads = LearnedQueryAttention(self.width)
        self.mlp = nn.Sequential(
            nn.Linear(self.width, dim), nn.GroupNorm(PROJECTOR_NORM_GROUPS, dim), nn.ReLU()
        )
        self.out_norm = nn.GroupNorm(TEMPORAL_HEADS, dim)

    def forward(self, series: Tensor, day_encodings: Tensor) -> Tensor:
        """(N, T, C) and encoded dates (T, width) to (N, D)."""
        hidden = self.inconv(series.flatten(0, 1)).view(*series.shape[:2], -1)
        hidden = self.in_norm(hidden.transpose(1, 2)).transpose(1, 2) + day_encodings
        found: Tensor = self.out_norm(self.mlp(self.attention_heads(hidden)))
        return found


class LearnedQueryAttention(nn.Module):
    """A weighted mean over time; every head has a query of its own and a share of the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.Q = nn.Parameter(
            torch.randn(TEMPORAL_HEADS, TEMPORAL_KEY_DIM) * (2 / TEMPORAL_KEY_DIM) ** 0.5
        )
        self.fc1_k = nn.Linear(width, TEMPORAL_HEADS * TEMPORAL_KEY_DIM)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, T, width) to (N, width)."""
        keys = self.fc1_k(hidden).view(*hidden.shape[:2], TEMPORAL_HEADS, TEMPORAL_KEY_DIM)
        shares = (torch.einsum("nthk,hk->nht", keys, self.Q) / math.sqrt(TEMPORAL_KEY_DIM)).softmax(
            dim=-1
        )
        values = hidden.reshape(*hidden.shape[:2], TEMPORAL_HEADS, -1)
        return torch.einsum("nht,nthc->nhc", shares, values).flatten(1)


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
        """Sub-patches of all patches, within a patch cell by cell.

        Args:
            image: (B, C, H, W).
            cells_per_patch: Cells along a patch.

        Returns:
            (B, patches, sub-patches, D).
        """
        blocks = self.patch_embed(image)
        along = AERIAL_PIXELS_PER_CELL // SUBPATCH_PIXELS
        high, wide = (side // (cells_per_patch * along) for side in blocks.shape[-2:])
        split = blocks.view(
            *blocks.shape[:2], high, cells_per_patch, along, wide, cells_per_patch, along
        )
        order = split.permute(0, 2, 5, 3, 6, 4, 7, 1)  # (B, h, w, cells, cells, 5, 5, D)
        found: Tensor = self.mlp(order.flatten(3, 6).flatten(1, 2))
        return found


class RelativePositionBias(nn.Module):
    """What a query adds to its attention, by the distance of the key."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lookup_table_weight = nn.Parameter(torch.randn(1, width, NUM_BUCKETS) * 0.02)

    def forward(self, query: Tensor, buckets: Tensor) -> Tensor:
        """Queries (B, N, width) of one head and rows (N, M) of the table to (B, 1, N, M)."""
        table = query @ self.lookup_table_weight[0]
        return table.gather(2, buckets.expand(len(query), -1, -1))[:, None]


class Attention(nn.Module):
    """Multi-head self-attention, with relative positions if wanted."""

    def __init__(self, dim: int, num_heads: int, *, relative: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rpe_k = RelativePositionBias(dim // num_heads) if relative else None

    def forward(self, tokens: Tensor, buckets: Tensor | None) -> Tensor:
        """(B, N, D) and, for relative positions, rows (N, N) of their table to (B, N, D)."""
        parts = self.qkv(tokens).view(*tokens.shape[:2], 3, self.num_heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        bias = None
        if self.rpe_k is not None and buckets is not None:
            bias = self.rpe_k(query[:, 0] * query.shape[-1] ** -0.5, buckets)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class Block(nn.Module):
    """Attention and feed-forward, each after a norm and added to what it read."""

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, *, eps: float, relative: bool
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, num_heads, relative=relative)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio))

    def forward(self, tokens: Tensor, buckets: Tensor | None = None) -> Tensor:
        """(B, N, D) to (B, N, D); `buckets` as in `Attention`."""
        tokens = tokens + self.attn(self.norm1(tokens), buckets)
        added: Tensor = tokens + self.mlp(self.norm2(tokens))
        return added


class SpatialEncoder(nn.Module):
    """One token of the sub-patches of a patch."""

    def __init__(self, dim: int, depth: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.predictor_blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_ratio, eps=1e-5, relative=True) for _ in range(depth)
        )
        self.predictor_norm = nn.LayerNorm(dim)

    def forward(self, subpatches: Tensor, subpatch_m: float) -> Tensor:
        """(N, n, D) of square patches to (N, D).

        Positions go to the sub-patches in rows, also where a projector lists them otherwise; the
        authors' code does so.

        Args:
            subpatches: The sub-patches.
            subpatch_m: Ground size of one, metres.
        """
        side = math.isqrt(subpatches.shape[1])
        where = position_encoding(
            side, side, subpatch_m, subpatches.shape[2], subpatches.device
        ).to(subpatches)
        rows = distance_buckets(side, side, subpatches.device)
        at_once = max(1, CHUNK_SIZE // subpatches.shape[1])
        return torch.cat(
            [self._encode(part + where, rows) for part in torch.split(subpatches, at_once)]
        )

    def _encode(self, subpatches: Tensor, buckets: Tensor) -> Tensor:
        tokens = torch.cat([self.cls_token.expand(len(subpatches), -1, -1), subpatches], dim=1)
        for block in self.predictor_blocks:
            tokens = block(tokens, buckets)
        found: Tensor = self.predictor_norm(tokens[:, 0])
        return found


class CrossAttention(nn.Module):
    """Attention whose queries are one learned vector and the positions."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q_learned = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.wk = nn.Linear(dim, dim)
        self.wv = nn.Linear(dim, dim)
        self.rpe_k = RelativePositionBias(dim // num_heads)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, encodings: Tensor, buckets: Tensor) -> Tensor:
        """Tokens (B, N, D), positions (Q, D) and rows (Q, N) of the table to (B, Q, D)."""
        query, key, value = (
            part.view(*part.shape[:2], self.num_heads, -1).transpose(1, 2)
            for part in (self.q_learned + encodings, self.wk(tokens), self.wv(tokens))
        )
        # Unlike in the other blocks, the query is not scaled here.
        bias = self.rpe_k(query[:, 0], buckets).expand(len(tokens), -1, -1, -1)
        mixed = functional.scaled_dot_product_attention(
            query.expand(len(tokens), -1, -1, -1), key, value, attn_mask=bias
        )
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class CrossBlock(nn.Module):
    """Cross-attention, not added to what it read, and feed-forward."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, *, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = CrossAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = FeedForward(dim, int(dim * mlp_ratio))

    def forward(self, tokens: Tensor, encodings: Tensor, buckets: Tensor) -> Tensor:
        """As `CrossAttention`."""
        found = self.attn(self.norm1(tokens), encodings, buckets)
        added: Tensor = found + self.mlp(self.norm2(found))
        return added


class AnySatEncoder(nn.Module):
    """The encoder with the projectors of `SERIES` and of aerial images.

    Args:
        embed_dim: Width D of the tokens, a multiple of 16.
        depth: Blocks of the spatial encoder, and as many between it and the cross-attention.
        num_heads: Attention heads.
        mlp_ratio: Width of the feed-forward layers in units of D.
        mlp_in: Widths of the layers of the series' projectors, the last D.
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
            Block(embed_dim, num_heads, mlp_ratio, eps=1e-6, relative=False) for _ in range(depth)
        )
        self.blocks.append(CrossBlock(embed_dim, num_heads, mlp_ratio, eps=1e-6))

    def forward(
        self, inputs: Mapping[str, Tensor], grid_shape: tuple[int, int], patch_m: int
    ) -> Tensor:
        """Tokens after the cross-attention, which no norm follows.

        Args:
            inputs: Per series `<name>` (B, T, C, H, W), `<name>_days` (B, T) and
                `<name>_missing` (B, T, H, W); `aerial` (B, C, H, W). At least one, all of the
                same ground.
            grid_shape: Patches (high, wide).
            patch_m: Ground size of a patch, metres, a multiple of 10.

        Returns:
            (B, 1 + patches, D): the class token, then the patches row by row.
        """
        cells = patch_m // CELL_M
        anything = self.cls_token
        where = position_encoding(*grid_shape, cells, anything.shape[-1], anything.device).to(
            anything
        )
        sensors = [
            self._embed_patches(name, inputs, cells) + where
            for name in self.projectors
            if name in inputs
        ]
        first = self.cls_token.expand(len(sensors[0]), -1, -1)
        tokens = torch.cat([first, *sensors], dim=1)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        rows = distance_buckets(*grid_shape, anything.device)
        keys = torch.cat([rows[:, :1], rows[:, 1:].repeat(1, len(sensors))], dim=1)
        found: Tensor = self.blocks[-1](tokens, functional.pad(where, (0, 0, 1, 0)), keys)
        return found

    def _embed_patches(
        self, name: str, inputs: Mapping[str, Tensor], cells_per_patch: int
    ) -> Tensor:
        """Tokens (B, patches, D) of one sensor."""
        if name == AERIAL:
            parts = self.projectors[name](inputs[name], cells_per_patch)
            step_m = CELL_M * SUBPATCH_PIXELS / AERIAL_PIXELS_PER_CELL
        else:
            of_series = inputs[name], inputs[f"{name}_days"], inputs[f"{name}_missing"]
            parts = self.projectors[name](*of_series, cells_per_patch)
            step_m = float(CELL_M)
        found: Tensor = self.spatial_encoder(parts.flatten(0, 1), step_m)
        return found.view(*parts.shape[:2], -1)


def position_encoding(
    height: int, width: int, spacing: float, dim: int, device: torch.device
) -> Tensor:
    """Encodings (height * width, dim) of places in rows: half from the column, half from the row.

    Args:
        height: Rows.
        width: Columns.
        spacing: Distance of neighbours, in the unit that is encoded.
        dim: Length of an encoding, a multiple of 4.
        device: Where to compute.
    """
    exponents = torch.arange(dim // 4, device=device, dtype=torch.float32) / (dim // 4)
    angles = [
        torch.arange(count, device=device, dtype=torch.float32)[:, None]
        * spacing
        / 10_000**exponents
        for count in (width, height)
    ]
    columns, rows = (torch.cat([angle.sin(), angle.cos()], dim=-1) for angle in angles)
    return torch.cat([columns.repeat(height, 1), rows.repeat_interleave(width, dim=0)], dim=-1)


def distance_buckets(height: int, width: int, device: torch.device) -> Tensor:
    """Rows (1 + P, 1 + P) of the table of relative positions for P places after a class token."""
    rows = torch.arange(height, device=device).repeat_interleave(width)
    columns = torch.arange(width, device=device).repeat(height)
    squares = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    far = len(DISTANCE_BUCKETS) - 1
    rounded = squares.clamp(max=far**2).float().sqrt().round().long()
    found = torch.tensor(DISTANCE_BUCKETS, device=device)[rounded]
    return functional.pad(found, (1, 0, 1, 0), value=CLS_BUCKET)


def encode_days(days: Tensor, width: int) -> Tensor:
    """Encodings (..., width) of days (...): sines and cosines in turn, the same for every head."""
    one = width // TEMPORAL_HEADS
    pairs = torch.arange(one, device=days.device) // 2
    angles = days.float()[..., None] / DAY_ENCODING_BASE ** (2 * pairs.float() / one)
    even = torch.arange(one, device=days.device) % 2 == 0
    encoded = torch.where(even, angles.sin(), angles.cos())
    return encoded.repeat(*(1,) * days.ndim, TEMPORAL_HEADS)
