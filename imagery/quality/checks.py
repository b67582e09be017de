"""Plausibility checks of fetched pixels. Pure."""

from __future__ import annotations

import numpy as np

from geobento.schemas.sample import Sample
from imagery.collections.schema import Collection

MIN_VALID_FRACTION = 0.1
"""A smaller fraction of valid pixels gives a warning."""
MAX_OUT_OF_RANGE_FRACTION = 0.01
"""Accepted fraction of values outside the valid range: glint, shadows, noise."""
MIN_DIGITAL_NUMBER_PEAK = 4
"""If no digital number reaches this, the values are reflectances, already scaled."""
MAX_STANDARD_SCORE = 100
"""If all digital numbers are smaller and many are negative, the values are standard scores."""
MIN_NEGATIVE_FRACTION = 0.05


def quality_warnings(sample: Sample, collection: Collection) -> list[str]:
    """Warnings about a sample, one sentence each.

    Args:
        sample: Pixels (C, H, W) or (T, C, H, W), in raw units.
        collection: Collection of the pixels.
    """
    planes = np.moveaxis(sample.pixels, -3, 0)
    data = planes.reshape(len(sample.bands), -1)
    if sample.valid is not None:
        data = data[:, sample.valid.ravel()]
    valid_fraction = data.shape[1] / max(1, planes[0].size)
    warnings = []
    if valid_fraction < MIN_VALID_FRACTION:
        warnings.append(f"only {valid_fraction:.1%} of the pixels have data")
    if not data.size:
        return warnings
    for band, values in zip(sample.bands, data, strict=True):
        if not np.isfinite(values).all():
            warnings.append(f"{band} has values that are not finite")
        elif values.size > 1 and np.ptp(values) == 0:
            warnings.append(f"{band} is {values[0]:g} everywhere")
    return warnings + unit_warnings(sample.bands, data, collection)


def unit_warnings(
    bands: tuple[str, ...],
    data: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    collection: Collection,
) -> list[str]:
    """Warnings about values that are not in a collection's units, one sentence each.

    Args:
        bands: Names of the C bands.
        data: (C, N) values of the valid pixels.
        collection: Collection with the expected units.
    """
    warnings = []
    if collection.valid_range is not None:
        warnings += _range_warnings(bands, data, collection.valid_range, collection.units)
    peak = float(np.nanmax(data, initial=0))
    scores = peak < MAX_STANDARD_SCORE and float(np.mean(data < 0)) > MIN_NEGATIVE_FRACTION
    if collection.scaling and (0 < peak < MIN_DIGITAL_NUMBER_PEAK or scores):
        warnings.append(
            f"no value is above {peak:g}: these are not {collection.units} but scaled already"
        )
    return warnings


def _range_warnings(
    bands: tuple[str, ...],
    data: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    valid_range: tuple[float, float],
    units: str,
) -> list[str]:
    low, high = valid_range
    warnings = []
    for band, values in zip(bands, data, strict=True):
        outside = float(np.mean((values < low) | (values > high)))
        if outside > MAX_OUT_OF_RANGE_FRACTION:
            warnings.append(
                f"{outside:.1%} of {band} lie outside of {low:g} to {high:g}, the usual range of "
                f"{units}"
            )
    return warnings
