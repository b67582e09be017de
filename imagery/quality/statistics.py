"""Per-band statistics of fetched pixels. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.plan import BandStatistics, Histogram
from geobento.schemas.sample import Sample

HISTOGRAM_BINS = 32
MIN_RELATIVE_SPREAD = 1e-6
"""Relative half width of the histogram of a constant band; at least half a unit."""


def band_statistics(sample: Sample) -> list[BandStatistics]:
    """Statistics of every band with valid pixels.

    Args:
        sample: Pixels (C, H, W), in raw units. Values that are not finite count as no data.
    """
    valid = np.ones(sample.pixels.shape[1:], bool) if sample.valid is None else sample.valid
    statistics = []
    for band, plane in zip(sample.bands, sample.pixels, strict=True):
        values = plane[valid & np.isfinite(plane)].astype(np.float64)
        if values.size:
            statistics.append(_describe_band(band, values))
    return statistics


def _describe_band(band: str, values: NDArray[np.float64]) -> BandStatistics:
    p2, p50, p98 = np.percentile(values, (2, 50, 98))
    low, high = values.min(), values.max()
    half_width = max(0.5, abs(low) * MIN_RELATIVE_SPREAD) if low == high else 0.0
    counts, edges = np.histogram(
        values, bins=HISTOGRAM_BINS, range=(low - half_width, high + half_width)
    )
    return BandStatistics(
        band=band,
        count=values.size,
        min=low,
        max=high,
        mean=values.mean(),
        std=values.std(),
        p2=p2,
        p50=p50,
        p98=p98,
        histogram=Histogram(counts=counts.tolist(), edges=edges.tolist()),
    )
