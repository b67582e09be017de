"""What the values of pixels are like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geobento.schemas.sample import Sample
from imagery.quality.statistics import HISTOGRAM_BINS, band_statistics

RAMP = np.arange(101, dtype=np.float32).reshape(1, 101)
"""0 to 100, whose percentiles are plain."""


def sample(*planes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Sample:
    """A sample of these bands, without validity."""
    return Sample(np.stack(planes), tuple(f"B{i + 1}" for i in range(len(planes))), "s2")


def test_the_numbers_of_a_ramp() -> None:
    """Each statistic is the one that it is named after."""
    (result,) = band_statistics(sample(RAMP))
    assert (result.band, result.count) == ("B1", 101)
    assert (result.min, result.max, result.mean) == (0, 100, 50)
    assert (result.p2, result.p50, result.p98) == (2, 50, 98)
    assert result.std == pytest.approx(np.sqrt((101**2 - 1) / 12))


def test_bands_keep_their_order_and_names() -> None:
    """One entry per band, each from its own values."""
    result = band_statistics(sample(RAMP, RAMP + 1, -RAMP))
    assert [(band.band, band.mean) for band in result] == [("B1", 50), ("B2", 51), ("B3", -50)]


def test_a_histogram_counts_every_pixel_once() -> None:
    """Equal bins from the least to the largest; the largest is in the last."""
    random = np.random.default_rng(0)
    (result,) = band_statistics(sample(random.normal(1000, 300, (40, 50)).astype(np.float32)))
    histogram = result.histogram
    assert sum(histogram.counts) == result.count == 2000
    assert (len(histogram.counts), len(histogram.edges)) == (HISTOGRAM_BINS, HISTOGRAM_BINS + 1)
    assert (histogram.edges[0], histogram.edges[-1]) == (result.min, result.max)
    np.testing.assert_allclose(np.diff(histogram.edges), (result.max - result.min) / HISTOGRAM_BINS)
    assert histogram.counts[-1] >= 1
    coarse = np.repeat(np.arange(HISTOGRAM_BINS + 1, dtype=np.float32), 3)[None]
    assert band_statistics(sample(coarse))[0].histogram.counts == [3] * (HISTOGRAM_BINS - 1) + [6]


def test_pixels_without_data_do_not_count() -> None:
    """Neither those that are not valid, nor values that are not finite."""
    plane = RAMP.copy()
    plane[0, :3] = np.nan, np.inf, -np.inf
    valid = np.ones(plane.shape, bool)
    valid[0, 90:] = False
    (result,) = band_statistics(replace(sample(plane), valid=valid))
    assert (result.count, result.min, result.max) == (87, 3, 89)


def test_a_band_without_data_has_no_entry() -> None:
    """The others have theirs; where nothing is valid, there is none at all."""
    nothing = np.full_like(RAMP, np.nan)
    assert [band.band for band in band_statistics(sample(nothing, RAMP))] == ["B2"]
    assert band_statistics(replace(sample(RAMP), valid=np.zeros(RAMP.shape, bool))) == []


@pytest.mark.parametrize("value", [0, 7.5, -3e38, 3e38, 1e-40])
@pytest.mark.parametrize("pixels", [1, 9])
def test_one_value_everywhere(value: float, pixels: int) -> None:
    """It is all of the statistics, and its histogram is around it."""
    plane = np.full((1, pixels), value, np.float32)
    (result,) = band_statistics(sample(plane))
    assert {result.min, result.max, result.p2, result.p50, result.p98} == {float(plane[0, 0])}
    assert result.mean == pytest.approx(result.min, rel=1e-12)
    assert result.std == pytest.approx(0, abs=abs(result.min) * 1e-12)
    assert sum(result.histogram.counts) == pixels
    assert result.histogram.edges[0] <= result.min <= result.histogram.edges[-1]


def test_neighbouring_numbers() -> None:
    """Values that float32 can just tell apart still have bins."""
    near = np.array([[1e6, np.nextafter(np.float32(1e6), np.float32(2e6))]], np.float32)
    (result,) = band_statistics(sample(near))
    assert (result.histogram.counts[0], result.histogram.counts[-1]) == (1, 1)
    assert result.std == pytest.approx((result.max - result.min) / 2)
