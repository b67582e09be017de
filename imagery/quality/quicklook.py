"""A picture of fetched pixels, for people to look at. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from geobento.schemas.sample import Sample

TRUE_COLOR_BANDS = ("B4", "B3", "B2")
LOW_PERCENTILE, HIGH_PERCENTILE = 2, 98
"""Percentiles that become black and white."""


def render_quicklook(sample: Sample) -> Image.Image:
    """The sample in true colour, or its first band in grey; black where there are no data.

    Of a time series the frame with the most data.
    """
    sample = _most_valid_frame(sample)
    colour = all(band in sample.bands for band in TRUE_COLOR_BANDS)
    shown = TRUE_COLOR_BANDS if colour else sample.bands[:1]
    valid = np.ones(sample.pixels.shape[1:], bool) if sample.valid is None else sample.valid
    planes = []
    for band in shown:
        values = sample.pixels[sample.bands.index(band)].astype(np.float64)
        seen = values[valid & np.isfinite(values)]
        low, high = (
            np.percentile(seen, (LOW_PERCENTILE, HIGH_PERCENTILE)) if seen.size else (0.0, 1.0)
        )
        stretched = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
        planes.append(np.where(valid, np.nan_to_num(stretched), 0).round().astype(np.uint8))
    return Image.fromarray(np.stack(planes, axis=-1) if colour else planes[0])


def _most_valid_frame(sample: Sample) -> Sample:
    if sample.pixels.ndim == 3:
        return sample
    if sample.valid is None:
        return replace(sample, pixels=sample.pixels[0])
    fullest = int(sample.valid.mean(axis=(1, 2)).argmax())
    return replace(sample, pixels=sample.pixels[fullest], valid=sample.valid[fullest])
