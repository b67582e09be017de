"""How much of every cell of a grid lies inside a polygon. Pure."""

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
"""A block of cells of which this share lies inside is inside, but for rounding."""


def area_weights(region: Area, grid: PixelGrid) -> NDArray[np.float32]:
    """What every cell of a grid counts when the vectors of a place are averaged.

    Args:
        region: The polygon.
        grid: Cells of equal size, such as those of a model's tokens.

    Returns:
        ``(height * width,)`` row by row: the area of each cell inside the polygon, as a share
        of all that the grid has of it. Sum 1; 0 where a cell lies outside.

    Raises:
        SpecError: The grid has nothing of the polygon.
    """
    inside = cell_fractions(region, grid)
    if not inside.any():
        raise SpecError("the polygon lies outside of the cells of the grid", field="spatial")
    counts: NDArray[np.float32] = (inside / inside.sum()).astype(np.float32).ravel()
    return counts


def cell_fractions(region: Area, grid: PixelGrid) -> NDArray[np.float64]:
    """The share of every cell of a grid that lies inside a polygon.

    Returns:
        ``(height, width)``, 0 to 1, exact but for rounding.
    """
    shape = reprojected(region_geometry(region), region.crs, grid.crs)
    a, _, left, _, e, top = grid.transform
    x, y = left + a * np.arange(grid.width + 1), top + e * np.arange(grid.height + 1)
    inside = np.zeros(grid.shape)
    _fill_fractions(inside, shape, x, y)
    return inside


def _fill_fractions(
    fractions: NDArray[np.float64],
    shape: shapely.Geometry,
    x: NDArray[np.floating[Any]],
    y: NDArray[np.floating[Any]],
) -> None:
    """Set the shares of a block of cells, in halves where a polygon's edge runs through it.

    Args:
        fractions: (height, width) zeros.
        shape: The polygon.
        x: (width + 1,) edges of the columns.
        y: (height + 1,) edges of the rows, decreasing.
    """
    part = shapely.intersection(shape, shapely.box(x[0], y[-1], x[-1], y[0]))
    share = part.area / ((x[-1] - x[0]) * (y[0] - y[-1]))
    height, width = fractions.shape
    if share == 0:
        return
    if share >= FULL_FRACTION or fractions.size == 1:
        fractions[:] = min(share, 1.0)
    elif height >= width:
        middle = height // 2
        _fill_fractions(fractions[:middle], part, x, y[: middle + 1])
        _fill_fractions(fractions[middle:], part, x, y[middle:])
    else:
        middle = width // 2
        _fill_fractions(fractions[:, :middle], part, x[: middle + 1], y)
        _fill_fractions(fractions[:, middle:], part, x[middle:], y)
