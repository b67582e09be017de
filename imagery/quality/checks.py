"""Whether fetched pixels look like what their collection holds. Pure."""

from __future__ import annotations

import numpy as np

from geobento.schemas.sample import Sample
from imagery.collections.schema import Collection

MIN_VALID_FRACTION = 0.1
"""Less of a place with data than this share is worth a word."""
MAX_OUT_OF_RANGE_FRACTION = 0.01
"""A share of values up to this may lie outside of the usual range: glints, shadows, noise."""
MIN_DIGITAL_NUMBER_PEAK = 4
"""Digital numbers that are all smaller have become reflectances of some tenths."""
MAX_STANDARD_SCORE = 100
"""Digital numbers that are all smaller and often below 0 have become standard scores."""
MIN_NEGATIVE_FRACTION = 0.05


def quality_warnings(sample: Sample, collection: Collection) -> list[str]:
    """What is odd about a sample, one sentence each; empty: nothing.

    Args:
        sample: Pixels (C, H, W) or (T, C, H, W) as a source gave them.
        collection: What they were asked from.
    """
    planes = np.moveaxis(sample.pixels, -3, 0)
    data = planes.reshape(len(sample.bands), -1)
    if sample.valid is not None:
        data = data[:, sample.valid.ravel()]
    share = data.shape[1] / max(1, planes[0].size)
    found = []
    if share < MIN_VALID_FRACTION:
        found.append(f"only {share:.1%} of the pixels have data")
    if not data.size:
        return found
    for band, values in zip(sample.bands, data, strict=True):
        if not np.isfinite(values).all():
            found.append(f"{band} has values that are not finite")
        elif values.size > 1 and np.ptp(values) == 0:
            found.append(f"{band} is {values[0]:g} everywhere")
    return found + unit_warnings(sample.bands, data, collection)


def unit_warnings(
    bands: tuple[str, ...],
    data: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    collection: Collection,
) -> list[str]:
    """What says that values are not in the units of a collection, one sentence each.

    Args:
        bands: Names of the C bands.
        data: (C, N) values of pixels that have data.
        collection: What they are taken for.
    """
    found = []
    if collection.valid_range is not None:
        found += _range_warnings(bands, data, collection.valid_range, collection.units)
    peak = float(np.nanmax(data, initial=0))
    scores = peak < MAX_STANDARD_SCORE and float(np.mean(data < 0)) > MIN_NEGATIVE_FRACTION
    if collection.scaling and (0 < peak < MIN_DIGITAL_NUMBER_PEAK or scores):
        found.append(
            f"no value is above {peak:g}: these are not {collection.units} but scaled already"
        )
    return found


def _range_warnings(
    bands: tuple[str, ...],
    data: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    valid_range: tuple[float, float],
    units: str,
) -> list[str]:
    low, high = valid_range
    found = []
    for band, values in zip(bands, data, strict=True):
        outside = float(np.mean((values < low) | (values > high)))
        if outside > MAX_OUT_OF_RANGE_FRACTION:
            found.append(
                f"{outside:.1%} of {band} lie outside of {low:g} to {high:g}, the usual range of "
                f"{units}"
            )
    return found
