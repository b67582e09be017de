"""Imagery resized and cropped."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from models.preprocessing.resampling import Interpolation, center_crop, resize, shorter_side_shape

NOISE = np.random.default_rng(0).random((2, 3, 40, 50), np.float32)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic", "area"])
def test_every_layer_by_itself(kernel: Interpolation) -> None:
    """Leading axes are kept, and no layer knows of another."""
    result = resize(NOISE, (20, 30), kernel)
    assert result.shape == (2, 3, 20, 30)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result[1, 2], resize(NOISE[1, 2], (20, 30), kernel))
    constant = resize(np.full((7, 9), 5), (4, 20), kernel)
    np.testing.assert_allclose(constant, 5, rtol=1e-6)


@pytest.mark.parametrize(("kernel", "filter_"), [("bilinear", 2), ("bicubic", 3)])
def test_antialiased_as_pillow_does_it(kernel: Interpolation, filter_: int) -> None:
    """The antialiased kernels are those of images, without rounding."""
    layer = NOISE[0, 0]
    pillow = Image.fromarray(layer).resize((17, 13), Image.Resampling(filter_))
    np.testing.assert_allclose(
        resize(layer, (13, 17), kernel, antialias=True), np.asarray(pillow), atol=1e-5
    )
    assert np.abs(resize(layer, (13, 17), kernel) - np.asarray(pillow)).max() > 0.05


def test_nothing_to_do() -> None:
    """The same size gives the same numbers."""
    np.testing.assert_array_equal(resize(NOISE, (40, 50), "bicubic"), NOISE)


def test_the_middle() -> None:
    """Halves are rounded to even, as torchvision does."""
    assert shorter_side_shape(260, 333, 224) == (224, 286)
    assert shorter_side_shape(333, 260, 224) == (286, 224)
    grid = np.arange(5 * 8).reshape(5, 8)
    np.testing.assert_array_equal(center_crop(grid, 4), grid[0:4, 2:6])
    np.testing.assert_array_equal(center_crop(grid, 5), grid[:, 2:7])
