"""From several looks at a place to one. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.specs import Composite
from imagery.collections.schema import QualityMask

_REDUCERS: dict[str, Any] = {"median": np.nanmedian, "mean": np.nanmean}
"""Composites of all values of a pixel."""


def clear_sky_mask(values: NDArray[Any], mask: QualityMask) -> NDArray[np.bool_]:
    """Where a quality band shows the ground; not where it is NaN."""
    has = np.isfinite(values)
    whole = np.where(has, values, 0).astype(np.int64)
    hidden = (whole & mask.bitmask) != 0 if mask.bits else np.isin(whole, mask.classes)
    return np.asarray(has & ~hidden)


def fuser(
    stack: NDArray[np.float32], valid: NDArray[np.bool_], passes: Sequence[Sequence[int]]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One look per pass of the satellite, from the tiles that the pass is cut into.

    Neighbouring tiles overlap; without this, a pass would count twice where they do.

    Args:
        stack: (T, C, H, W).
        valid: Of the same shape: where a tile has data.
        passes: Positions in T that make up each pass; the first with data at a pixel shows.

    Returns:
        Both arrays with one look per pass.
    """
    if len(passes) == len(stack):
        return stack, valid
    first = [tiles[0] for tiles in passes]
    looks, seen = stack[first], valid[first]
    for position, tiles in enumerate(passes):
        for tile in tiles[1:]:
            np.copyto(looks[position], stack[tile], where=valid[tile] & ~seen[position])
            seen[position] |= valid[tile]
    return looks, seen


def composite(
    stack: NDArray[np.float32],
    valid: NDArray[np.bool_],
    method: Composite,
    fill_value: float,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One image from looks at the same pixels.

    Args:
        stack: (T, C, H, W), oldest first.
        valid: Of the same shape, or (T, H, W) for all bands alike: where a look has data.
        method: `median`: per pixel and band, the middle of the valid values, of an even number
            the mean of the middle two. `mean`: of all of them. `mosaic`: the latest.
        fill_value: Value where no look has data.

    Returns:
        Pixels (C, H, W) and validity (H, W): True where every band has data.
    """
    if valid.ndim == 3:
        valid = np.broadcast_to(valid[:, None], stack.shape)
    seen = valid.any(axis=0)
    if stack.shape[0] == 1:
        pixels = stack[0]
    elif method in _REDUCERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # pixels that no look has seen
            pixels = _REDUCERS[method](np.where(valid, stack, np.float32(np.nan)), axis=0)
    else:
        latest = stack.shape[0] - 1 - valid[::-1].argmax(axis=0)
        pixels = np.take_along_axis(stack, latest[None], axis=0)[0]
    filled = np.where(seen, pixels, np.float32(fill_value)).astype(np.float32)
    return filled, np.asarray(seen.all(axis=0))
