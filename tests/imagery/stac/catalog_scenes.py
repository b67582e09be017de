"""Queries and bands for tests of catalogs on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento import SensorSpec, TemporalSpec
from geobento.schemas.sample import PixelGrid, Sample
from imagery.query import ImageQuery
from imagery.stac.catalogs.static import StaticCatalog
from imagery.stac.source import StacSource
from tests.imagery.catalogs import GRID, CatalogBuilder, constant

S2 = "sentinel-2-l2a"

SENSOR = SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("B4", "B8"))

WINDOW = TemporalSpec.range("2023-06-01", "2023-07-01").window


def query(pixel_grid: PixelGrid = GRID, **sensor: Any) -> ImageQuery:
    """June at the test's region."""
    return ImageQuery(replace(SENSOR, **sensor), pixel_grid, *WINDOW, "s2")


def fetch(builder: CatalogBuilder, image_query: ImageQuery | None = None) -> Sample:
    """What the catalog answers."""
    return StacSource(StaticCatalog(builder.save())).fetch(image_query or query())


def bands(red: NDArray[Any] | int, near_infrared: NDArray[Any] | int = 5) -> dict[str, Any]:
    """Assets of a scene; numbers are constant bands."""
    both = {"red": red, "nir": near_infrared}
    return {k: constant(v) if isinstance(v, int) else v for k, v in both.items()}


def ramp() -> NDArray[np.uint16]:
    """A band in which every pixel is different."""
    return np.arange(1, GRID.height * GRID.width + 1, dtype=np.uint16).reshape(GRID.shape)
