"""Preprocessing of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from geobento.schemas.cards import ImageInput
from geobento.schemas.errors import InvalidImage
from models.preprocessing import images
from models.preprocessing.images import resized_shape


def preprocess(image: Image.Image, how: ImageInput) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Pixels of an image as the network reads them: both steps."""
    batch = torch.from_numpy(np.stack([images.resize_and_crop(image, how)]))
    result: np.ndarray[Any, np.dtype[np.float32]] = images.standardize(batch, how)[0].numpy()
    return result


def noise(height: int, width: int) -> Image.Image:
    """An image of noise."""
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def spec(**fields: Any) -> ImageInput:
    """A preprocessing with defaults."""
    return ImageInput(modality="image", **fields)


def test_taken_as_it_is() -> None:
    """Without steps: values over 255, channels first."""
    image = noise(5, 7)
    result = preprocess(image, spec())
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.asarray(image).transpose(2, 0, 1) / 255, rtol=1e-6)


def test_standardised() -> None:
    """Mean and standard deviation are those of the channel."""
    result = preprocess(noise(4, 4), spec(mean=(0.1, 0.2, 0.3), std=(1, 2, 4)))
    plain = preprocess(noise(4, 4), spec())
    for channel, (mean, std) in enumerate(((0.1, 1), (0.2, 2), (0.3, 4))):
        np.testing.assert_allclose(result[channel], (plain[channel] - mean) / std, atol=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "fields", "shape"),
    [
        (100, 150, {"resize": "none"}, (100, 150)),
        (100, 150, {"resize": "squash", "size": 64}, (64, 64)),
        (100, 150, {"resize": "shorter_side", "size": 64}, (64, 96)),
        (150, 100, {"resize": "shorter_side", "size": 64}, (96, 64)),
        (260, 333, {"resize": "shorter_side", "size": 224}, (224, 286)),
        (1, 3, {"resize": "shorter_side", "size": 224}, (224, 672)),
    ],
)
def test_sizes(height: int, width: int, fields: dict[str, Any], shape: tuple[int, int]) -> None:
    """The longer side is rounded down, as torchvision does."""
    assert resized_shape(height, width, spec(**fields)) == shape
    assert preprocess(noise(height, width), spec(**fields)).shape == (3, *shape)


def test_the_crop_is_from_the_centre() -> None:
    """An odd remainder is split as torchvision splits it: half to even."""
    image = noise(9, 12)
    result = preprocess(image, spec(crop=4))
    np.testing.assert_allclose(result, preprocess(image, spec())[:, 2:6, 4:8])


def test_a_float_resize_is_that_of_tensors() -> None:
    """Equal to torch's antialiased interpolation of the image as a tensor."""
    image = noise(61, 83)
    result = preprocess(image, spec(resize="squash", size=24, resize_in="float"))
    tensor = torch.from_numpy(preprocess(image, spec()))[None]
    expected = torch.nn.functional.interpolate(
        tensor, (24, 24), mode="bilinear", antialias=True, align_corners=False
    )
    np.testing.assert_allclose(result, expected[0].numpy(), atol=1e-5)


def test_too_small() -> None:
    """The message says what is accepted."""
    with pytest.raises(InvalidImage, match="at least 9 x 9"):
        preprocess(noise(8, 20), spec(min_side=9))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize_in", ["uint8", "float"])
def test_a_flat_image_stays_flat(interpolation: str, resize_in: str) -> None:
    """Resizing neither shifts nor scales values, and mixes no channels."""
    flat = Image.new("RGB", (31, 17), (200, 100, 50))
    way = spec(resize="squash", size=40, interpolation=interpolation, resize_in=resize_in)
    result = preprocess(flat, way)
    assert result.flags.c_contiguous
    expected = np.array([200, 100, 50])[:, None, None] / 255
    np.testing.assert_allclose(result, np.broadcast_to(expected, (3, 40, 40)), atol=1e-6)


def test_the_kernels_differ() -> None:
    """The card's word for the kernel is heeded."""
    made = [
        preprocess(noise(20, 20), spec(resize="squash", size=33, interpolation=way))
        for way in ("bilinear", "bicubic")
    ]
    assert (made[0] != made[1]).any()
