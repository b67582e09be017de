"""Quicklook images of fetched pixels. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from geobento.schemas.sample import Sample

TRUE_COLOR_BANDS = ("B4", "B3", "B2")
LOW_PERCENTILE, HIGH_PERCENTILE = 2, 98
"""Percentiles that are stretched to black and white."""


def render_quicklook(sample: Sample) -> Image.Image:
    """Render a sample in true color, or its first band in gray. Pixels without data are black.

    A time series is represented by its frame with the most valid pixels.
    """
    sample = _most_valid_frame(sample)
    in_color = all(band in sample.bands for band in TRUE_COLOR_BANDS)
    bands = TRUE_COLOR_BANDS if in_color else sample.bands[:1]
    valid = np.ones(sample.pixels.shape[1:], bool) if sample.valid is None else sample.valid
    planes = []
    for band in bands:
        values = sample.pixels[sample.bands.index(band)].astype(np.float64)
        data = values[valid & np.isfinite(values)]
        low, high = (
            np.percentile(data, (LOW_PERCENTILE, HIGH_PERCENTILE)) if data.size else (0.0, 1.0)
        )
        stretched = np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255
        planes.append(np.where(valid, np.nan_to_num(stretched), 0).round().astype(np.uint8))
    return Image.fromarray(np.stack(planes, axis=-1) if in_color else planes[0])


def _most_valid_frame(sample: Sample) -> Sample:
    if sample.pixels.ndim == 3:
        return sample
    if sample.valid is None:
        return replace(sample, pixels=sample.pixels[0])
    fullest = int(sample.valid.mean(axis=(1, 2)).argmax())
    return replace(sample, pixels=sample.pixels[fullest], valid=sample.valid[fullest])
