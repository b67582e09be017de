"""The grid of an array on the ground."""

from __future__ import annotations

from typing import TypeAlias

from geobento.schemas.records import Record

Transform: TypeAlias = tuple[float, float, float, float, float, float]


class GridMeta(Record):
    """A georeferenced grid of pixels; rows run from north to south."""

    crs: str
    """Authority code of the CRS, such as `EPSG:32736`, or WKT if it has none."""
    transform: Transform
    """(a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f; outer corners."""
    height: int
    """Number of rows."""
    width: int
    """Number of columns."""
