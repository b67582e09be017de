"""Sizes in whole patches. Pure."""

from __future__ import annotations

import math


def whole_patches(
    shape: tuple[int, int], patch_size: int, max_size: int | None = None
) -> tuple[int, int]:
    """The nearest (height, width) whose sides are multiples of the patch, at least one each.

    Args:
        shape: (height, width), pixels.
        patch_size: Side of a patch, pixels.
        max_size: Longest side, pixels; a longer one shrinks both. None: any.
    """
    shrink = 1.0
    if max_size is not None:
        longest = max(1, max_size // patch_size) * patch_size
        shrink = min(1.0, longest / max(shape))
    height, width = (
        max(1, math.floor(side * shrink / patch_size + 0.5)) * patch_size for side in shape
    )
    return height, width
