"""THOR: a vision transformer over groups of bands, each at its own resolution.

Sources: THOR, 2601.16011; kernels of any size as in FlexiViT (Beyer et al., 2212.08013); positions
as a bias of the attention as in ALiBi (Press et al., 2108.12409), here in two dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.optional_import import library

GROUPS = (
    ("B4", "B3", "B2", "B8"),
    ("B5", "B6", "B7", "B8A", "B11", "B12"),
    ("B1", "B9"),
    ("VH", "VV"),
    ("HV", "HH"),
)
"""Bands whose patches are averaged into one token."""
BANDS = tuple(band for group in GROUPS for band in group)
KERNEL = 16
"""Side of the learned kernels, pixels."""
REFERENCE_M = 40.0
"""Ground size of the patch whose position in the encoding of patch sizes is 1, metres."""


@dataclass(frozen=True)
class Part:
    """The channels of an image that become the tokens of one group.

    Attributes:
        group: Position in `GROUPS`.
        bands: Which of its bands there are.
        channels: Where they are in the image.
        step: Pixels of the image along a pixel of these bands.
    """

    group: int
    bands: tuple[str, ...]
    channels: tuple[int, ...]
    step: int


def parts(bands: Sequence[str], steps: Sequence[int]) -> list[Part]:
    """The groups that an image has bands of, in the authors' order.

    Args:
        bands: Names of the image's channels.
        steps: For each, pixels of the image along a pixel of the band.
    """
    found = []
    for number, group in enumerate(GROUPS):
        channels = tuple(bands.index(band) for band in group if band in bands)
        if channels:
            named = tuple(bands[channel] for channel in channels)
            found.append(Part(number, named, channels, steps[channels[0]]))
    return found


def at_own_resolution(image: Tensor, part: Part) -> Tensor:
    """The channels of a part at the resolution of its bands: (B, n, H / step, W / step)."""
    chosen = image[:, part.channels]
    if part.step == 1:
        return chosen
    height, width = image.shape[-2:]
    shape = height // part.step, width // part.step
    return functional.interpolate(chosen, shape, mode="bilinear", align_corners=False)


@lru_cache(maxsize=32)
def resizing(patch: int) -> Tensor:
    """(patch * patch, 16 * 16): brings flat kernels to another size.

    It is the pseudo-inverse of resizing images (bicubic, antialiased): a patch that is resized
    from 16 pixels gives the token, as nearly as can be, that it gave before.
    """
    pixels = torch.eye(KERNEL * KERNEL).reshape(-1, 1, KERNEL, KERNEL)
    smaller = functional.interpolate(pixels, (patch, patch), mode="bicubic", antialias=True)
    found: Tensor = torch.linalg.pinv(smaller.flatten(1).double())
    return found.float()


def sincos(positions: Tensor, dim: int) -> Tensor:
    """Sines, then cosines, of positions (...) at falling frequencies: (..., dim)."""
    steps = torch.arange(dim // 2, dtype=torch.float64, device=positions.device)
    angles = positions.double()[..., None] * 10_000.0 ** (-steps / (dim / 2))
    return torch.cat([angles.sin(), angles.cos()], dim=-1).float()


def slopes(heads: int) -> list[float]:
    """How fast each head's attention falls off with distance, as in ALiBi."""
    whole = 1 << (heads.bit_length() - 1)
    found = [2 ** (-8 * (head + 1) / whole) for head in range(whole)]
    between = [2 ** (-8 * (head + 1) / (2 * whole)) for head in range(0, 2 * whole, 2)]
    return found + between[: heads - whole]


def distances(shapes: Sequence[tuple[int, int]], steps: Sequence[int], like: Tensor) -> Tensor:
    """Distances (N, N) between the centres of all patches, in sides of the largest; float32.

    Args:
        shapes: (rows, columns) of patches of each group.
        steps: Relative sides of their patches.
        like: A tensor on the device.
    """
    centres = []
    for (height, width), step in zip(shapes, steps, strict=True):
        side = step / max(steps)
        rows, columns = (
            (torch.arange(count, dtype=torch.float32, device=like.device) + 0.5) * side
            for count in (height, width)
        )
        centres.append(torch.cartesian_prod(rows, columns))
    points = torch.cat(centres)
    found: Tensor = (points[:, None] - points[None]).square().sum(-1).sqrt()
    return found


class Thor(nn.Module):
    """Tokens of every group of bands, group after group.

    Args:
        embed_dim: D.
        depth: Blocks.
        num_heads: Heads of each block.
        band_embed_dim: How many of the D entries tell groups apart.
        norm_eps: Added to variances.
    """

    def __init__(
        self, embed_dim: int, depth: int, num_heads: int, band_embed_dim: int, norm_eps: float
    ) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, eps=norm_eps)
        block: Any = library("timm.models.vision_transformer").Block
        self.kernels = nn.ModuleDict({band: nn.Conv2d(1, embed_dim, KERNEL) for band in BANDS})
        self.band_embed = nn.Module()
        for number in range(len(GROUPS)):
            code = sincos(torch.tensor(float(number)), band_embed_dim)
            self.band_embed.register_buffer(f"group{number}", code)
        self.register_buffer("encoder_slopes", torch.tensor(slopes(num_heads)))
        self.blocks = nn.ModuleList(
            block(embed_dim, num_heads, 4.0, qkv_bias=True, norm_layer=norm) for _ in range(depth)
        )
        self.norm = norm(embed_dim)
        """The authors' own feature is taken before it."""

    def forward(
        self, image: Tensor, image_parts: Sequence[Part], patch: int, pixel_m: Tensor
    ) -> tuple[Tensor, list[tuple[int, int]]]:
        """Tokens after the last block, not normed.

        Args:
            image: (B, C, H, W); height and width are multiples of `patch` times every step.
            image_parts: What its channels are.
            patch: Side of a patch in pixels of its bands.
            pixel_m: (B,) ground size of the image's pixels, metres.

        Returns:
            (B, N, D), row by row within a group; and (rows, columns) of each group.
        """
        maps = [self._patches(image, part, patch, pixel_m) for part in image_parts]
        tokens = torch.cat([found.flatten(2).transpose(1, 2) for found in maps], dim=1)
        shapes = [(found.shape[2], found.shape[3]) for found in maps]
        apart = distances(shapes, [part.step for part in image_parts], image)
        falloff = self.get_buffer("encoder_slopes").float()
        bias = (-falloff[:, None, None] * apart).to(tokens.dtype)[None]
        for block in self.blocks:
            tokens = block(tokens, attn_mask=bias)
        return tokens, shapes

    def _patches(self, image: Tensor, part: Part, patch: int, pixel_m: Tensor) -> Tensor:
        """Tokens (B, D, h, w) of a group before the first block: the mean over its bands."""
        convolutions: list[Any] = [self.kernels[band] for band in part.bands]
        kernels = torch.cat([conv.weight for conv in convolutions], dim=1) / len(convolutions)
        if patch != KERNEL:
            resize = resizing(patch).to(kernels)
            kernels = (kernels.flatten(2) @ resize.T).reshape(*kernels.shape[:2], patch, patch)
        biases = torch.stack([conv.bias for conv in convolutions]).mean(dim=0)
        pixels = at_own_resolution(image, part)
        found = functional.conv2d(pixels, kernels, biases, stride=patch)
        return found + self._added(part, patch, pixel_m).to(found.dtype)[:, :, None, None]

    def _added(self, part: Part, patch: int, pixel_m: Tensor) -> Tensor:
        """(B, D) encoding of the ground size of a patch, and of the group."""
        of_group = self.band_embed.get_buffer(f"group{part.group}").float()
        of_size = sincos(
            patch * part.step * pixel_m / REFERENCE_M, self.norm.normalized_shape[0] - len(of_group)
        )
        return torch.cat([of_size, of_group.expand(len(of_size), -1)], dim=1)


def merged(tokens: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
    """(B, G, D, h, w): the map of every group, brought to the finest of them (bilinear)."""
    finest = max(shapes)
    counts = [height * width for height, width in shapes]
    maps = []
    for found, shape in zip(torch.split(tokens, counts, dim=1), shapes, strict=True):
        grid = found.transpose(1, 2).reshape(len(tokens), -1, *shape)
        if shape != finest:
            grid = functional.interpolate(grid, finest, mode="bilinear", align_corners=False)
        maps.append(grid)
    return torch.stack(maps, dim=1)
