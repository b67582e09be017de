"""What the values of fetched pixels are like, band by band. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.plan import BandStatistics, Histogram
from geobento.schemas.sample import Sample

HISTOGRAM_BINS = 32
MIN_RELATIVE_SPREAD = 1e-6
"""Half the range of the histogram of one value, as a share of it; at least half a unit."""


def band_statistics(sample: Sample) -> list[BandStatistics]:
    """Statistics of every band that has any data.

    Args:
        sample: Pixels (C, H, W) as a source gave them; values that are not finite are no data.
    """
    valid = np.ones(sample.pixels.shape[1:], bool) if sample.valid is None else sample.valid
    found = []
    for band, plane in zip(sample.bands, sample.pixels, strict=True):
        values = plane[valid & np.isfinite(plane)].astype(np.float64)
        if values.size:
            found.append(_describe_band(band, values))
    return found


def _describe_band(band: str, values: NDArray[np.float64]) -> BandStatistics:
    p2, p50, p98 = np.percentile(values, (2, 50, 98))
    low, high = values.min(), values.max()
    around = max(0.5, abs(low) * MIN_RELATIVE_SPREAD) if low == high else 0.0
    counts, edges = np.histogram(values, bins=HISTOGRAM_BINS, range=(low - around, high + around))
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
