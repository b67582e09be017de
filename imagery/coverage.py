"""How much of every cell of a grid lies inside a polygon. Pure."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from geobento.errors import SpecError
from geobento.places import Area
from geobento.sample import PixelGrid
from imagery.outline import carried, outline


def weights(place: Area, grid: PixelGrid) -> NDArray[np.float32]:
    """What every cell of a grid counts when the vectors of a place are averaged.

    Args:
        place: The polygon.
        grid: Cells of equal size, such as those of a model's tokens.

    Returns:
        ``(height * width,)`` row by row: the area of each cell inside the polygon, as a share
        of all that the grid has of it. Sum 1; 0 where a cell lies outside.

    Raises:
        SpecError: The grid has nothing of the polygon.
    """
    inside = shares(place, grid)
    if not inside.any():
        raise SpecError("the polygon lies outside of the cells of the grid", field="spatial")
    counts: NDArray[np.float32] = (inside / inside.sum()).astype(np.float32).ravel()
    return counts


def shares(place: Area, grid: PixelGrid) -> NDArray[np.float64]:
    """The share of every cell of a grid that lies inside a polygon.

    Returns:
        ``(height, width)``, 0 to 1, exact but for rounding.
    """
    shape = carried(outline(place), place.crs, grid.crs)
    a, _, left, _, e, top = grid.transform
    x, y = left + a * np.arange(grid.width), top + e * np.arange(grid.height)
    cells = shapely.box(x[None, :], y[:, None] + e, x[None, :] + a, y[:, None])
    shapely.prepare(shape)
    inside = shapely.contains_properly(shape, cells).astype(np.float64)
    cut = shapely.intersects(shape, cells) & (inside == 0)
    inside[cut] = shapely.area(shapely.intersection(shape, cells[cut])) / abs(a * e)
    clipped: NDArray[np.float64] = np.clip(inside, 0.0, 1.0)
    return clipped
