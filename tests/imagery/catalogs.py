"""Small static STAC catalogs, written for one test each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from affine import Affine
from numpy.typing import NDArray

from geobento.schemas.sample import PixelGrid
from imagery.grid import lonlat_bounds

GRID = PixelGrid("EPSG:32736", (10.0, 0.0, 617_400.0, 0.0, -10.0, 9_625_100.0), 24, 24)
"""24 x 24 pixels of 10 m in Tanzania."""


def write_tiff(
    file: Path, pixels: NDArray[Any], grid: PixelGrid = GRID, nodata: float | None = 0
) -> None:
    """A GeoTIFF of one band, or of those of an array (C, H, W)."""
    bands = pixels.reshape(-1, *pixels.shape[-2:])
    if pixels.dtype.kind == "u" and nodata is not None and nodata < 0:
        nodata = None
    file.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        file,
        "w",
        driver="GTiff",
        height=grid.height,
        width=grid.width,
        count=len(bands),
        dtype=pixels.dtype.name,
        crs=grid.crs,
        transform=Affine(*grid.transform),
        nodata=nodata,
    ) as target:
        target.write(bands)


class CatalogBuilder:
    """Collects items and writes `catalog.json`."""

    def __init__(self, root: Path, name: str = "test-catalog") -> None:
        self.root = root
        self._catalog = pystac.Catalog(id=name, description="made for a test")
        self._count = 0

    def add(
        self,
        collection: str,
        time: str,
        bands: Mapping[str, NDArray[Any]],
        *,
        grid: PixelGrid = GRID,
        nodata: float | None = 0,
        item_id: str | None = None,
        **properties: Any,
    ) -> pystac.Item:
        """One item with one file per band."""
        self._count += 1
        west, south, east, north = lonlat_bounds(grid)
        ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
        item = pystac.Item(
            id=item_id or f"item-{self._count}",
            geometry={"type": "Polygon", "coordinates": [ring]},
            bbox=[west, south, east, north],
            datetime=datetime.fromisoformat(time),
            properties={
                "proj:code": grid.crs,
                "proj:shape": list(grid.shape),
                "proj:transform": list(grid.transform),
                **{name.replace("__", ":"): value for name, value in properties.items()},
            },
            collection=collection,
        )
        for key, pixels in bands.items():
            file = self.root / "data" / item.id / f"{key}.tif"
            write_tiff(file, pixels, grid, nodata)
            raster = {"nodata": nodata} if nodata is not None else {}
            described = [raster] * (pixels.shape[0] if pixels.ndim == 3 else 1)
            item.add_asset(key, pystac.Asset(str(file), extra_fields={"raster:bands": described}))
        child = self._catalog.get_child(collection) or self._child(collection)
        child.add_item(item)
        return item

    def save(self) -> Path:
        """Write it; returns `catalog.json`."""
        self._catalog.normalize_hrefs(str(self.root))
        for item in self._catalog.get_items(recursive=True):
            item.make_asset_hrefs_relative()
        self._catalog.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)
        return self.root / "catalog.json"

    def _child(self, name: str) -> pystac.Catalog:
        child = pystac.Collection(
            id=name,
            description="made for a test",
            extent=pystac.Extent(
                pystac.SpatialExtent([[-180.0, -90.0, 180.0, 90.0]]),
                pystac.TemporalExtent([None, None]),
            ),
        )
        self._catalog.add_child(child)
        return child


def constant(value: int, dtype: str = "uint16") -> NDArray[Any]:
    """A band with one value everywhere."""
    return np.full(GRID.shape, value, dtype)
