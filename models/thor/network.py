"""THOR: a vision transformer over groups of bands, each at its own resolution.

Sources: THOR, 2601.16011; kernels of any size as in FlexiViT (Beyer et al., 2212.08013); positions
as a bias of the attention as in ALiBi (Press et al., 2108.12409), here in two dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers.patch_embed import resized_kernels
from models.layers.positions import sincos_encoding
from models.optional_import import optional_import
from models.thor.inputs import BANDS

BAND_GROUPS = (
    ("B4", "B3", "B2", "B8"),
    ("B5", "B6", "B7", "B8A", "B11", "B12"),
    ("B1", "B9"),
    ("VH", "VV"),
    ("HV", "HH"),
)
"""Bands whose patches are averaged into one token."""
KERNEL_SIZE = 16
"""Side of the learned kernels, pixels."""
REFERENCE_PATCH_M = 40.0
"""Ground size of the patch whose position in the encoding of patch sizes is 1, meters."""


@dataclass(frozen=True)
class BandGroup:
    """The channels of an image that become the tokens of one group.

    Attributes:
        index: Position in `BAND_GROUPS`.
        bands: The bands of the group that the image has.
        channels: Their channels in the image.
        downsampling: Pixels of the image along a pixel of these bands.
    """

    index: int
    bands: tuple[str, ...]
    channels: tuple[int, ...]
    downsampling: int


def group_bands(bands: Sequence[str], downsampling: Sequence[int]) -> list[BandGroup]:
    """The groups that an image has bands of, in the order of the reference implementation.

    Args:
        bands: Names of the image's channels.
        downsampling: For each, pixels of the image along a pixel of the band.
    """
    groups = []
    for index, group in enumerate(BAND_GROUPS):
        channels = tuple(bands.index(band) for band in group if band in bands)
        if channels:
            names = tuple(bands[channel] for channel in channels)
            groups.append(BandGroup(index, names, channels, downsampling[channels[0]]))
    return groups


def to_native_resolution(image: Tensor, group: BandGroup) -> Tensor:
    """The n channels of a group at the resolution of its bands: (B, n, H / step, W / step)."""
    channels = image[:, group.channels]
    if group.downsampling == 1:
        return channels
    height, width = image.shape[-2:]
    shape = height // group.downsampling, width // group.downsampling
    return functional.interpolate(channels, shape, mode="bilinear", align_corners=False)


def alibi_slopes(num_heads: int) -> list[float]:
    """How fast each head's attention falls off with distance, as in ALiBi."""
    power = 1 << (num_heads.bit_length() - 1)
    slopes = [2 ** (-8 * (head + 1) / power) for head in range(power)]
    between = [2 ** (-8 * (head + 1) / (2 * power)) for head in range(0, 2 * power, 2)]
    return slopes + between[: num_heads - power]


def patch_distances(
    shapes: Sequence[tuple[int, int]], downsampling: Sequence[int], like: Tensor
) -> Tensor:
    """Distances (N, N) between the centers of all patches, in sides of the largest; float32.

    Args:
        shapes: (rows, columns) of patches of each group.
        downsampling: Relative sides of their patches.
        like: A tensor on the device.
    """
    centers = []
    for (height, width), step in zip(shapes, downsampling, strict=True):
        side = step / max(downsampling)
        rows, columns = (
            (torch.arange(count, dtype=torch.float32, device=like.device) + 0.5) * side
            for count in (height, width)
        )
        centers.append(torch.cartesian_prod(rows, columns))
    points = torch.cat(centers)
    distances: Tensor = (points[:, None] - points[None]).square().sum(-1).sqrt()
    return distances


class ThorEncoder(nn.Module):
    """Tokens of every group of bands, group after group.

    Args:
        embed_dim: D.
        depth: Blocks.
        num_heads: Heads of each block.
        band_embed_dim: Width of the group encoding; the encoding of sizes has the rest of D.
        norm_eps: Added to variances.
    """

    def __init__(
        self, embed_dim: int, depth: int, num_heads: int, band_embed_dim: int, norm_eps: float
    ) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, eps=norm_eps)
        block: Any = optional_import("timm.models.vision_transformer").Block
        self.kernels = nn.ModuleDict({band: nn.Conv2d(1, embed_dim, KERNEL_SIZE) for band in BANDS})
        self.band_embed = nn.Module()
        for number in range(len(BAND_GROUPS)):
            encoding = sincos_encoding(torch.tensor(float(number)), band_embed_dim).float()
            self.band_embed.register_buffer(f"group{number}", encoding)
        self.register_buffer("encoder_slopes", torch.tensor(alibi_slopes(num_heads)))
        self.blocks = nn.ModuleList(
            block(embed_dim, num_heads, 4.0, qkv_bias=True, norm_layer=norm) for _ in range(depth)
        )
        self.norm = norm(embed_dim)
        """Kept for its weights; the vector is taken before it."""

    def forward(
        self, image: Tensor, band_groups: Sequence[BandGroup], patch_size: int, pixel_m: Tensor
    ) -> tuple[Tensor, list[tuple[int, int]]]:
        """Tokens after the last block, not normed.

        Args:
            image: (B, C, H, W); height and width are multiples of `patch_size` times every step.
            band_groups: Groups of its channels.
            patch_size: Side of a patch in pixels of its bands.
            pixel_m: (B,) ground size of the image's pixels, meters.

        Returns:
            (B, N, D), row by row within a group; and (rows, columns) of each group.
        """
        maps = [self._embed_patches(image, group, patch_size, pixel_m) for group in band_groups]
        tokens = torch.cat([grid.flatten(2).transpose(1, 2) for grid in maps], dim=1)
        shapes = [(grid.shape[2], grid.shape[3]) for grid in maps]
        distances = patch_distances(shapes, [group.downsampling for group in band_groups], image)
        slopes = self.get_buffer("encoder_slopes").float()
        bias = (-slopes[:, None, None] * distances).to(tokens.dtype)[None]
        for block in self.blocks:
            tokens = block(tokens, attn_mask=bias)
        return tokens, shapes

    def _embed_patches(
        self, image: Tensor, group: BandGroup, patch_size: int, pixel_m: Tensor
    ) -> Tensor:
        """Tokens (B, D, h, w) of a group before the first block: the mean over its bands."""
        convolutions: list[Any] = [self.kernels[band] for band in group.bands]
        kernels = torch.cat([conv.weight for conv in convolutions], dim=1) / len(convolutions)
        kernels = resized_kernels(kernels, patch_size)
        biases = torch.stack([conv.bias for conv in convolutions]).mean(dim=0)
        pixels = to_native_resolution(image, group)
        tokens = functional.conv2d(pixels, kernels, biases, stride=patch_size)
        encoding = self._size_and_group_encoding(group, patch_size, pixel_m).to(tokens.dtype)
        return tokens + encoding[:, :, None, None]

    def _size_and_group_encoding(
        self, group: BandGroup, patch_size: int, pixel_m: Tensor
    ) -> Tensor:
        """(B, D) encoding of the ground size of a patch, and of the group."""
        of_group = self.band_embed.get_buffer(f"group{group.index}").float()
        sizes = patch_size * group.downsampling * pixel_m / REFERENCE_PATCH_M
        dim = self.norm.normalized_shape[0] - len(of_group)
        of_size = sincos_encoding(sizes, dim).float()
        return torch.cat([of_size, of_group.expand(len(of_size), -1)], dim=1)


def merge_groups(tokens: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
    """(B, G, D, h, w): the map of every group, resampled to the finest of them (bilinear)."""
    finest = max(shapes)
    counts = [height * width for height, width in shapes]
    maps = []
    for part, shape in zip(torch.split(tokens, counts, dim=1), shapes, strict=True):
        grid = part.transpose(1, 2).reshape(len(tokens), -1, *shape)
        if shape != finest:
            grid = functional.interpolate(grid, finest, mode="bilinear", align_corners=False)
        maps.append(grid)
    return torch.stack(maps, dim=1)
