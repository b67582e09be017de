"""Resizing and cropping of arrays, by torch. Pure."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Interpolation = Literal["nearest", "bilinear", "bicubic", "area"]


def resize(
    pixels: NDArray[Any],
    shape: tuple[int, int],
    interpolation: Interpolation,
    *,
    antialias: bool = False,
) -> NDArray[np.float32]:
    """Arrays resized along their last two axes, corners not aligned.

    Args:
        pixels: (..., H, W).
        shape: Target (height, width).
        interpolation: Kernel; bicubic is torch's (a = -0.75; with `antialias` -0.5, as in Pillow).
        antialias: Whether downsampling averages over all pixels that a new one covers.

    Returns:
        (..., height, width) float32.
    """
    import torch
    from torch.nn import functional

    if pixels.shape[-2:] == shape:
        return np.ascontiguousarray(pixels, np.float32)
    lead = pixels.shape[:-2]
    stacked = torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).reshape(
        1, -1, *pixels.shape[-2:]
    )
    arguments: dict[str, Any] = {"mode": interpolation}
    if interpolation in ("bilinear", "bicubic"):
        arguments |= {"align_corners": False, "antialias": antialias}
    resized: NDArray[np.float32] = functional.interpolate(stacked, shape, **arguments).numpy()
    return resized.reshape(*lead, *shape)


def shorter_side_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) with the shorter side at `size`, the other in proportion, rounded down."""
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def center_crop(pixels: NDArray[Any], size: int) -> NDArray[Any]:
    """The central square of `size` of the last two axes, as torchvision crops it."""
    top, left = (round((side - size) / 2) for side in pixels.shape[-2:])
    return pixels[..., top : top + size, left : left + size]
