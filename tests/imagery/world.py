"""An invented world in which every pixel follows from a formula, for two kinds of sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.sample import PixelGrid
from imagery.collections import registry
from tests.imagery.catalogs import GRID, CatalogBuilder

S2 = "COPERNICUS/S2_SR_HARMONIZED"
BAND_NUMBERS = {name: number for number, name in enumerate(registry.get(S2).bands, start=1)}
CLOUD, GROUND, NO_DATA = 9, 4, 0


@dataclass(frozen=True)
class WorldScene:
    """One scene.

    Attributes:
        index: Its name in the collection; empty for an image of its own.
        time: When, ISO 8601 with zone.
        seed: Every scene has its own numbers.
        grid: Its pixels.
        cloud_pct: What its metadata say.
        cloudy: Whether there are clouds in its classification.
        holes: Whether there are pixels without data.
        border: Whether the numbers of the first column are 0.
        smooth: Neighbouring pixels differ by at most 1.
        number: That of all pixels; None: by the formula.
        properties: Further properties in Earth Engine.
        collection: Earth Engine id.
        tile: Name of the tile.
    """

    index: str
    time: str
    seed: int = 1
    grid: PixelGrid = GRID
    cloud_pct: float | None = 0.0
    cloudy: bool = False
    holes: bool = False
    border: bool = False
    smooth: bool = False
    number: int | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    collection: str = S2
    tile: str = "36MYB"

    @property
    def asset(self) -> str:
        """Its name in Earth Engine."""
        return f"{self.collection}/{self.index}".rstrip("/")

    def band(self, name: str) -> NDArray[np.float64]:
        """The numbers of a band on the scene's own pixels, whether or not there is data."""
        rows, columns = self._positions()
        if name == "SCL":
            cloud = self.cloudy & ((columns // 3 + rows // 5 + self.seed) % 3 == 0)
            classes = np.where(cloud, CLOUD, GROUND)
            return np.where(self.has_data(), classes, NO_DATA).astype(np.float64)
        if name in ("QA_PIXEL", "Fmask"):
            return np.where((columns + rows) % 4 == 0, 1 << 3, 1 << 6).astype(np.float64)
        if name == "StateQA":
            return np.where((columns + rows) % 4 == 0, 1 << 2, 1 << 3).astype(np.float64)
        if name == "cs_cdf":
            return np.asarray((columns + 3 * rows + self.seed) % 11 / 10, np.float64)
        if self.number is not None:
            return np.full(rows.shape, self.number, np.float64)
        if self.smooth:
            return np.asarray(1000 + (columns + rows) // 2 % 500 + 7 * self.seed, np.float64)
        number = BAND_NUMBERS.get(name, sum(name.encode()))
        values = 1000 + (7 * columns + 13 * rows + 101 * number + 977 * self.seed) % 3001
        if self.border:
            values[:, 0] = 0
        return values.astype(np.float64)

    def has_data(self) -> NDArray[np.bool_]:
        """Where there is data, on the scene's own pixels."""
        rows, columns = self._positions()
        return np.asarray(~(self.holes & ((columns + 2 * rows + self.seed) % 11 == 0)))

    def visible(self) -> NDArray[np.bool_]:
        """Where the ground shows, on the scene's own pixels."""
        return np.asarray(self.has_data() & (self.band("SCL") == GROUND))

    def described(self) -> dict[str, Any]:
        """The properties that Earth Engine has of it."""
        clouds = {} if self.cloud_pct is None else {"CLOUDY_PIXEL_PERCENTAGE": self.cloud_pct}
        return {
            "system:index": self.index,
            "system:time_start": round(datetime.fromisoformat(self.time).timestamp() * 1000),
            "SPACECRAFT_NAME": "Sentinel-2A",
            "MGRS_TILE": self.tile,
            "PROCESSING_BASELINE": "05.09",
            "GENERATION_TIME": 0,
            **clouds,
            **self.properties,
        }

    def _positions(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of every pixel, counted from the origin of the CRS in 10 m."""
        a, _, left, _, e, top = self.grid.transform
        x = left + a * (np.arange(self.grid.width) + 0.5)
        y = top + e * (np.arange(self.grid.height) + 0.5)
        columns, rows = np.meshgrid(np.floor(x / 10), np.floor(-y / 10) + 1_000_000)
        return rows.astype(np.int64), columns.astype(np.int64)


def shifted(grid: PixelGrid, columns: int, rows: int, height: int, width: int) -> PixelGrid:
    """A part of a grid's lattice; it may reach beyond the grid."""
    a, b, left, d, e, top = grid.transform
    return PixelGrid(grid.crs, (a, b, left + a * columns, d, e, top + e * rows), height, width)


def write_catalog(scenes: list[WorldScene], bands: tuple[str, ...], root: Path) -> Path:
    """The same scenes as a static STAC catalog; returns its `catalog.json`."""
    builder = CatalogBuilder(root)
    for scene in scenes:
        collection = registry.get(scene.collection)
        gap = 0 if collection.nodata is None else collection.nodata
        files = {
            collection.bands[band][0]: np.where(
                scene.has_data(), np.rint(scene.band(band) / collection.stac_scale), gap
            ).astype(np.int32 if gap < 0 else np.uint16)
            for band in bands
        }
        if collection.mask is not None:
            files[collection.mask_assets[0]] = scene.band(collection.mask.band).astype(np.uint8)
        properties = {
            "platform": scene.described()["SPACECRAFT_NAME"].lower(),
            "grid:code": f"MGRS-{scene.tile}",
            "s2:processing_baseline": "03.01",
            **collection.stac_properties,
        }
        if scene.cloud_pct is not None:
            properties["eo:cloud_cover"] = scene.cloud_pct
        time = datetime.fromisoformat(scene.time).astimezone(UTC).isoformat()
        builder.add(
            collection.stac_collections[0],
            time,
            files,
            grid=scene.grid,
            nodata=gap,
            item_id=scene.index,
            **{name.replace(":", "__"): value for name, value in properties.items()},
        )
    return builder.save()
