"""From several looks at a place to one. Pure."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.specs import Composite

MASKED_CLASSES = (0, 1, 3, 8, 9, 10)
"""Sentinel-2 scene classes that show no ground: no data, defective, cloud shadow, cloud of
medium and high probability, cirrus."""


def clear(classes: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a Sentinel-2 scene classification shows the ground."""
    return ~np.isin(classes, MASKED_CLASSES)


def composite(
    stack: NDArray[np.float32],
    valid: NDArray[np.bool_],
    method: Composite,
    fill_value: float,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One image from looks at the same pixels.

    Args:
        stack: (T, C, H, W), oldest first.
        valid: Of the same shape: where a look has data.
        method: `median`: per pixel and band, the middle of the valid values, of an even number
            the mean of the middle two. `mosaic`: the latest valid value.
        fill_value: Value where no look has data.

    Returns:
        Pixels (C, H, W) and validity (H, W): True where every band has data.
    """
    seen = valid.any(axis=0)
    if stack.shape[0] == 1:
        pixels = stack[0]
    elif method == "median":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # pixels that no look has seen
            pixels = np.nanmedian(np.where(valid, stack, np.float32(np.nan)), axis=0)
    else:
        latest = stack.shape[0] - 1 - valid[::-1].argmax(axis=0)
        pixels = np.take_along_axis(stack, latest[None], axis=0)[0]
    filled = np.where(seen, pixels, np.float32(fill_value)).astype(np.float32)
    return filled, np.asarray(seen.all(axis=0))
