"""Compositing: several acquisitions of a region into one image. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.specs import Composite
from imagery.collections.schema import QualityMask

_REDUCERS: dict[str, Any] = {"median": np.nanmedian, "mean": np.nanmean}
"""Composites over all valid values of a pixel."""


def clear_sky_mask(values: NDArray[Any], mask: QualityMask) -> NDArray[np.bool_]:
    """True where a quality band shows the ground; False where it is masked or NaN."""
    has_data = np.isfinite(values)
    flags = np.where(has_data, values, 0).astype(np.int64)
    masked = (flags & mask.bitmask) != 0 if mask.bits else np.isin(flags, mask.classes)
    return np.asarray(has_data & ~masked)


def fuser(
    stack: NDArray[np.float32], valid: NDArray[np.bool_], passes: Sequence[Sequence[int]]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fuse the tiles of each satellite pass into one image.

    Neighboring tiles overlap. Unfused, a pass would count twice where they do.

    Args:
        stack: (T, C, H, W) tiles.
        valid: Same shape, True where a tile has data.
        passes: Positions in T of each pass's tiles. The first tile with data at a pixel wins.

    Returns:
        Both arrays with one image per pass.
    """
    if len(passes) == len(stack):
        return stack, valid
    first = [tiles[0] for tiles in passes]
    fused, fused_valid = stack[first], valid[first]
    for position, tiles in enumerate(passes):
        for tile in tiles[1:]:
            np.copyto(fused[position], stack[tile], where=valid[tile] & ~fused_valid[position])
            fused_valid[position] |= valid[tile]
    return fused, fused_valid


def composite(
    stack: NDArray[np.float32],
    valid: NDArray[np.bool_],
    method: Composite,
    fill_value: float,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Composite images of the same pixels into one.

    Args:
        stack: (T, C, H, W), oldest first.
        valid: Same shape, or (T, H, W) for all bands: True where an image has data.
        method: `median` or `mean` of the valid values per pixel and band (an even number of values
            has the mean of the middle two as its median), or `mosaic`, the latest valid value.
        fill_value: Value of pixels without data.

    Returns:
        Pixels (C, H, W) and validity (H, W): True where every band has data.
    """
    if valid.ndim == 3:
        valid = np.broadcast_to(valid[:, None], stack.shape)
    any_valid = valid.any(axis=0)
    if stack.shape[0] == 1:
        pixels = stack[0]
    elif method in _REDUCERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # pixels without any valid value
            pixels = _REDUCERS[method](np.where(valid, stack, np.float32(np.nan)), axis=0)
    else:
        latest = stack.shape[0] - 1 - valid[::-1].argmax(axis=0)
        pixels = np.take_along_axis(stack, latest[None], axis=0)[0]
    filled = np.where(any_valid, pixels, np.float32(fill_value)).astype(np.float32)
    return filled, np.asarray(any_valid.all(axis=0))
