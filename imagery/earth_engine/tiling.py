"""Splitting a grid so that its pixels fit the limits of one request. Pure."""

from __future__ import annotations

from dataclasses import replace

from geobento.schemas.sample import PixelGrid

MAX_REQUEST_BYTES, MAX_REQUEST_SIDE = 48 * 2**20, 32_768
"""Limits of one request: uncompressed bytes, and pixels per side."""
MIN_SPLIT_SIDE = 32
"""Smaller grids are not split: then the number of scenes is too large, not the grid."""


def fits_one_request(grid: PixelGrid, pixel_bytes: int) -> bool:
    """Whether a grid fits one request, at `pixel_bytes` bytes per pixel for all bands."""
    height, width = grid.shape
    return (
        height * width * pixel_bytes <= MAX_REQUEST_BYTES and max(height, width) <= MAX_REQUEST_SIDE
    )


def count_pixel_requests(grid: PixelGrid, pixel_bytes: int) -> int:
    """The number of requests for a grid, if none is refused."""
    if fits_one_request(grid, pixel_bytes):
        return 1
    first, second, _ = split_grid(grid)
    return count_pixel_requests(first, pixel_bytes) + count_pixel_requests(second, pixel_bytes)


def split_grid(grid: PixelGrid) -> tuple[PixelGrid, PixelGrid, int]:
    """Halve a grid along its longer side; returns both halves and the axis (0 rows, 1 columns)."""
    a, b, left, d, e, top = grid.transform
    if grid.height >= grid.width:
        rows = grid.height // 2
        lower = replace(
            grid, transform=(a, b, left, d, e, top + e * rows), height=grid.height - rows
        )
        return replace(grid, height=rows), lower, 0
    columns = grid.width // 2
    right = replace(
        grid, transform=(a, b, left + a * columns, d, e, top), width=grid.width - columns
    )
    return replace(grid, width=columns), right, 1
