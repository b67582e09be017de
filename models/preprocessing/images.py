"""Images as networks read them. Pure; the steps and their numbers are data.

There are two parts, so that little data passes between them: resizing, image by image, in the API
server; standardizing, batch by batch, in the runner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geobento.schemas.cards import ImageInput
from geobento.schemas.errors import InvalidImage
from models.preprocessing.resampling import resize, shorter_side_shape

if TYPE_CHECKING:
    import torch

RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def resize_and_crop(
    image: Image.Image, spec: ImageInput
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """An image resized and cropped.

    Args:
        image: 8-bit RGB.
        spec: The steps.

    Returns:
        (H, W, 3), 0 to 255; uint8, or float32 where the resize does not round.

    Raises:
        InvalidImage: The image is too small.
    """
    width, height = image.size
    if min(width, height) < spec.min_side:
        raise InvalidImage(
            f"the image has {width} x {height} pixels; accepted: at least "
            f"{spec.min_side} x {spec.min_side}"
        )
    target = resized_shape(height, width, spec)
    if spec.resize_in == "float":
        pixels: NDArray[Any] = _resize_as_float(image, target, spec)
    else:
        if target != (height, width):
            image = image.resize(target[::-1], RESAMPLING[spec.interpolation])
        pixels = np.asarray(image, np.uint8)
    if spec.crop is not None:
        top, left = (round((side - spec.crop) / 2) for side in target)
        pixels = pixels[top : top + spec.crop, left : left + spec.crop]
    return np.ascontiguousarray(pixels)


def standardize(batch: torch.Tensor, spec: ImageInput) -> torch.Tensor:
    """Pixels divided by 255, less the mean, divided by the standard deviation.

    Args:
        batch: (B, H, W, 3), 0 to 255, uint8 or float32.
        spec: Mean and standard deviation.

    Returns:
        (B, 3, H, W) float32.
    """
    values = batch.float()
    mean, std = values.new_tensor(spec.mean), values.new_tensor(spec.std)
    return ((values / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def resized_shape(height: int, width: int, spec: ImageInput) -> tuple[int, int]:
    """(height, width) after the resize, before the crop."""
    if spec.resize == "none" or spec.size is None:
        return height, width
    if spec.resize == "squash":
        return spec.size, spec.size
    return shorter_side_shape(height, width, spec.size)


def _resize_as_float(
    image: Image.Image, target: tuple[int, int], spec: ImageInput
) -> NDArray[np.float32]:
    """An image resized in floating point, as tensors are, without rounding to 8 bits."""
    channels = np.asarray(image, np.float32).transpose(2, 0, 1)
    resized = resize(channels, target, spec.interpolation, antialias=True)
    return resized.transpose(1, 2, 0)
