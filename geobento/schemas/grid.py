"""The grid of an array on the ground."""

from __future__ import annotations

from typing import TypeAlias

from pydantic import BaseModel, ConfigDict

Transform: TypeAlias = tuple[float, float, float, float, float, float]


class GridMeta(BaseModel):
    """A georeferenced grid of pixels; rows run from north to south."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    crs: str
    """Authority code of the CRS, such as `EPSG:32736`, or WKT if it has none."""
    transform: Transform
    """(a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f; outer corners."""
    height: int
    """Number of rows."""
    width: int
    """Number of columns."""
