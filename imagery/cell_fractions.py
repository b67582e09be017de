"""The fraction of each grid cell inside a polygon. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geobento.schemas.errors import SpecError
from geobento.schemas.geometry import Area
from geobento.schemas.sample import PixelGrid
from imagery.geometry import region_geometry, reprojected

FULL_FRACTION = 1 - 1e-12
"""A block of cells above this fraction is fully inside, up to rounding."""


def area_weights(region: Area, grid: PixelGrid) -> NDArray[np.float32]:
    """Weights of a grid's cells in an area-weighted mean over a region.

    Args:
        region: The polygon.
        grid: Cells of equal size, such as the grid of a model's tokens.

    Returns:
        ``(height * width,)`` in row-major order, proportional to each cell's area inside the
        polygon. The sum is 1.

    Raises:
        SpecError: The grid and the polygon do not overlap.
    """
    fractions = cell_fractions(region, grid)
    if not fractions.any():
        raise SpecError("the polygon lies outside of the cells of the grid", field="spatial")
    weights: NDArray[np.float32] = (fractions / fractions.sum()).astype(np.float32).ravel()
    return weights


def cell_fractions(region: Area, grid: PixelGrid) -> NDArray[np.float64]:
    """The fraction of each grid cell inside a polygon.

    Returns:
        ``(height, width)``, 0 to 1, exact up to rounding.
    """
    shape = reprojected(region_geometry(region), region.crs, grid.crs)
    a, _, left, _, e, top = grid.transform
    x, y = left + a * np.arange(grid.width + 1), top + e * np.arange(grid.height + 1)
    fractions = np.zeros(grid.shape)
    _fill_fractions(fractions, shape, x, y)
    return fractions


def _fill_fractions(
    fractions: NDArray[np.float64],
    shape: shapely.Geometry,
    x: NDArray[np.floating[Any]],
    y: NDArray[np.floating[Any]],
) -> None:
    """Set the fractions of a block of cells. A block that the boundary crosses is halved.

    Args:
        fractions: (height, width) zeros, filled in place.
        shape: The polygon, in the coordinates of the grid.
        x: (width + 1,) edges of the columns.
        y: (height + 1,) edges of the rows, decreasing.
    """
    part = shapely.intersection(shape, shapely.box(x[0], y[-1], x[-1], y[0]))
    fraction = part.area / ((x[-1] - x[0]) * (y[0] - y[-1]))
    height, width = fractions.shape
    if fraction == 0:
        return
    if fraction >= FULL_FRACTION or fractions.size == 1:
        fractions[:] = min(fraction, 1.0)
    elif height >= width:
        middle = height // 2
        _fill_fractions(fractions[:middle], part, x, y[: middle + 1])
        _fill_fractions(fractions[middle:], part, x, y[middle:])
    else:
        middle = width // 2
        _fill_fractions(fractions[:, :middle], part, x[: middle + 1], y)
        _fill_fractions(fractions[:, middle:], part, x[middle:], y)
