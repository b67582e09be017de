"""Composites of several scenes."""

from __future__ import annotations

import numpy as np

from imagery.collections.schema import QualityMask
from imagery.collections.sentinel2 import MASKED_CLASSES
from imagery.compositing import clear_sky_mask, composite, fuser

SCL = QualityMask("SCL", classes=MASKED_CLASSES)
STACK = np.array([[[[1.0, 5.0, 7.0]]], [[[2.0, 9.0, 8.0]]], [[[6.0, 1.0, 9.0]]]], np.float32)
ALL = np.ones(STACK.shape, bool)


def test_median_of_what_is_valid() -> None:
    """Odd: the middle. Even: the mean of the middle two, halves kept. None: the fill value."""
    valid = ALL.copy()
    valid[0, 0, 0, 1] = False
    valid[:, 0, 0, 2] = False
    pixels, seen = composite(STACK, valid, "median", -1)
    np.testing.assert_array_equal(pixels, [[[2.0, 5.0, -1.0]]])
    np.testing.assert_array_equal(seen, [[True, True, False]])
    pixels, _ = composite(STACK[:2], ALL[:2], "median", 0)
    np.testing.assert_array_equal(pixels, [[[1.5, 7.0, 7.5]]])


def test_mosaic_takes_the_latest_that_is_valid() -> None:
    """The latest scene on top, earlier ones where it has no data."""
    valid = ALL.copy()
    valid[2, 0, 0, 0] = False
    valid[1:, 0, 0, 1] = False
    valid[:, 0, 0, 2] = False
    pixels, seen = composite(STACK, valid, "mosaic", -1)
    np.testing.assert_array_equal(pixels, [[[2.0, 5.0, -1.0]]])
    np.testing.assert_array_equal(seen, [[True, True, False]])


def test_a_single_scene_is_unchanged() -> None:
    """A single scene is not changed, and its gaps hold the fill value."""
    valid = ALL[:1].copy()
    valid[0, 0, 0, 0] = False
    for method in ("median", "mosaic"):
        pixels, seen = composite(STACK[:1], valid, method, 3)
        np.testing.assert_array_equal(pixels, [[[3.0, 5.0, 7.0]]])
        np.testing.assert_array_equal(seen, [[False, True, True]])


def test_a_pixel_is_whole_only_where_every_band_is() -> None:
    """One band without data makes the pixel incomplete; the other band keeps its value."""
    stack = np.ones((1, 2, 1, 2), np.float32)
    valid = np.ones((1, 2, 1, 2), bool)
    valid[0, 1, 0, 0] = False
    pixels, seen = composite(stack, valid, "median", 0)
    np.testing.assert_array_equal(pixels, [[[1, 1]], [[0, 1]]])
    np.testing.assert_array_equal(seen, [[False, True]])


def test_validity_may_be_given_for_all_bands_at_once() -> None:
    """(T, H, W) means the same for every band."""
    stack = np.concatenate([STACK, STACK + 10], axis=1)
    valid = ALL[:, 0].copy()
    valid[0, 0, 0] = False
    pixels, _ = composite(stack, valid, "median", 0)
    np.testing.assert_array_equal(pixels[:, 0, 0], [4, 14])


def test_the_mean_is_of_valid_values() -> None:
    """Those that are not seen do not count; where there are none it is the fill value."""
    valid = ALL.copy()
    valid[0, 0, 0, 1] = valid[:, 0, 0, 2] = False
    pixels, seen = composite(STACK, valid, "mean", -1)
    expected = [STACK[:, 0, 0, 0].mean(), STACK[1:, 0, 0, 1].mean(), -1]
    np.testing.assert_allclose(pixels[0, 0], expected, rtol=1e-6)
    assert not seen[0, 2]


def test_tiles_of_one_pass_are_merged() -> None:
    """Later tiles fill what earlier ones lack and never replace what they have."""
    valid = ALL.copy()
    valid[0, 0, 0, 1:] = False
    valid[1, 0, 0, 2] = False
    looks, seen = fuser(STACK, valid, [[0, 1], [2]])
    np.testing.assert_array_equal(looks[:, 0, 0, :2], [[1, 9], [6, 1]])
    np.testing.assert_array_equal(seen[:, 0, 0], [[True, True, False], [True, True, True]])
    assert STACK[0, 0, 0, 1] == 5


def test_scene_classes() -> None:
    """No data, defective, shadow, cloud and cirrus hide the ground; the rest shows it."""
    shown = clear_sky_mask(np.arange(12), SCL)
    assert np.flatnonzero(~shown).tolist() == [0, 1, 3, 8, 9, 10]


def test_quality_bits() -> None:
    """Any of the bits hides the ground, others do not; nor is it seen where there is no flag."""
    mask = QualityMask("Fmask", bits=(1, 3))
    shown = clear_sky_mask(np.array([0, 1, 2, 4, 8, 10, 64, 255, np.nan], np.float32), mask)
    assert np.flatnonzero(shown).tolist() == [0, 1, 3, 6]
