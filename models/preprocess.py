"""Pictures to what networks read. Pure; which steps, and with which numbers, is data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geobento.cards import ImageInput
from geobento.errors import InvalidImage

KERNELS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def picture(image: Image.Image, spec: ImageInput) -> NDArray[np.float32]:
    """A picture resized, cropped and standardised.

    Args:
        image: 8-bit RGB.
        spec: The steps.

    Returns:
        (3, H, W).

    Raises:
        InvalidImage: The picture is too small.
    """
    width, height = image.size
    if min(width, height) < spec.min_side:
        raise InvalidImage(
            f"the picture has {width} x {height} pixels; accepted: at least "
            f"{spec.min_side} x {spec.min_side}"
        )
    target = resized_shape(height, width, spec)
    if spec.resize_in == "float":
        pixels = _resized_as_float(image, target, spec)
    else:
        if target != (height, width):
            image = image.resize(target[::-1], KERNELS[spec.interpolation])
        pixels = np.asarray(image, np.float32)
    if spec.crop is not None:
        top, left = (round((side - spec.crop) / 2) for side in target)
        pixels = pixels[top : top + spec.crop, left : left + spec.crop]
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    standardised = (pixels / np.float32(255) - mean) / std
    return np.ascontiguousarray(standardised.transpose(2, 0, 1))


def resized_shape(height: int, width: int, spec: ImageInput) -> tuple[int, int]:
    """(height, width) after the resize, before the crop."""
    if spec.resize == "none" or spec.size is None:
        return height, width
    if spec.resize == "squash":
        return spec.size, spec.size
    if height <= width:
        return spec.size, int(spec.size * width / height)
    return int(spec.size * height / width), spec.size


def _resized_as_float(
    image: Image.Image, target: tuple[int, int], spec: ImageInput
) -> NDArray[np.float32]:
    """Channels resized as floating point numbers, without rounding to 8 bits in between."""
    channels = [
        channel.convert("F").resize(target[::-1], KERNELS[spec.interpolation])
        for channel in image.split()
    ]
    return np.stack([np.asarray(channel, np.float32) for channel in channels], axis=-1)
