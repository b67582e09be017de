"""Sizes in whole patches."""

from __future__ import annotations

import pytest

from models.preprocessing.patches import whole_patches


@pytest.mark.parametrize(
    ("shape", "patch_size", "max_size", "expected"),
    [
        ((32, 32), 8, None, (32, 32)),
        ((35, 37), 8, None, (32, 40)),
        ((20, 20), 8, None, (24, 24)),  # half a patch counts
        ((3, 100), 8, None, (8, 104)),
        ((100, 50), 8, 40, (40, 24)),
        ((100, 50), 8, 43, (40, 24)),  # as many patches as fit
        ((100, 50), 64, 40, (64, 64)),
    ],
)
def test_sides_become_multiples(
    shape: tuple[int, int], patch_size: int, max_size: int | None, expected: tuple[int, int]
) -> None:
    """The nearest multiple of the patch, at least one, at most as many as fit."""
    assert whole_patches(shape, patch_size, max_size) == expected
