"""STAC items and COGs of the demo archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from numpy.typing import NDArray

from imagery.collections.registry import COLLECTIONS
from imagery.demo.landscape import BANDS, cloud_percentage, to_top_of_atmosphere, true_color
from imagery.demo.regions import DemoRegion, pixel_grid
from imagery.grid import lonlat_bounds

CLOUD_FRACTIONS = (0.05, 0.45, 0.02, 0.6, 0.08, 0.0, 0.04, 0.35, 0.0, 0.7, 0.06, 0.5)
"""Approximate cloud fractions of the twelve Sentinel-2 scenes of a region."""

WAVELENGTHS_UM = (
    0.443, 0.49, 0.56, 0.665, 0.704, 0.74, 0.783, 0.842, 0.865, 0.945, 1.61, 2.19,
)  # fmt: skip
"""Center wavelengths of the Sentinel-2 bands, in the order of `BANDS`."""

S2_ASSETS = {band: COLLECTIONS["COPERNICUS/S2_SR_HARMONIZED"].bands[band][0] for band in BANDS}


EMBEDDING_COLLECTION = COLLECTIONS["GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"]


def item_writers(region: DemoRegion) -> Iterator[Callable[[Path], list[pystac.Item]]]:
    """Functions that write the scenes of a region below a root folder and return their items."""
    for month in region.months:
        yield partial(_write_sentinel_2, region, month)
        yield partial(_write_sentinel_1, region, month)
    yield partial(_write_elevation, region)
    yield partial(_write_embeddings, region)


def _write_sentinel_2(region: DemoRegion, month: int, root: Path) -> list[pystac.Item]:
    """One acquisition as surface reflectance (L2A) and at the top of the atmosphere (L1C)."""
    time = region.overpass_time(month, 10 + month % 5, 10.5)
    numbers, classes = region.landscape.scene(
        month, CLOUD_FRACTIONS[(month - 1 + region.first_cloud_index) % 12]
    )
    surface_item = _write_optical(root, region, time, "sentinel-2-l2a", numbers, classes)
    _write_asset(root, surface_item, "scl", classes, {"data_type": "uint8", "nodata": 0}, nodata=0)
    _write_asset(
        root, surface_item, "visual", true_color(numbers), {"data_type": "uint8"}, role="visual"
    )
    return [
        surface_item,
        _write_optical(
            root, region, time, "sentinel-2-l1c", to_top_of_atmosphere(numbers), classes
        ),
    ]


def _write_optical(
    root: Path,
    region: DemoRegion,
    time: datetime,
    collection: str,
    digital_numbers: NDArray[np.uint16],
    classes: NDArray[np.uint8],
) -> pystac.Item:
    item = _create_item(region, collection, time)
    item.properties |= {
        "platform": "sentinel-2a",
        "eo:cloud_cover": cloud_percentage(classes),
        "s2:processing_baseline": "05.09",
        "earthsearch:boa_offset_applied": True,
    }
    scaled = {"data_type": "uint16", "nodata": 0, "scale": 0.0001, "offset": 0}
    for number, (band, key) in enumerate(S2_ASSETS.items()):
        _write_asset(root, item, key, digital_numbers[number], scaled, nodata=0, band=band)
    return item


def _write_sentinel_1(region: DemoRegion, month: int, root: Path) -> list[pystac.Item]:
    time = region.overpass_time(month, 12 + month % 5, 18)
    item = _create_item(region, "sentinel-1-rtc", time)
    item.properties |= {
        "platform": "sentinel-1a",
        "sar:instrument_mode": "IW",
        "sar:polarizations": ["VV", "VH"],
        "sat:orbit_state": "ascending",
    }
    power = region.landscape.backscatter(month)
    for key, channel in zip(("vv", "vh"), power, strict=True):
        _write_asset(
            root, item, key, channel, {"data_type": "float32", "nodata": -32768}, nodata=-32768
        )
    return [item]


def _write_elevation(region: DemoRegion, root: Path) -> list[pystac.Item]:
    item = _create_item(region, "cop-dem-glo-30", datetime(2021, 4, 22, tzinfo=UTC))
    _write_asset(
        root, item, "data", region.landscape.elevation, {"data_type": "float32", "unit": "m"}
    )
    return [item]


def _write_embeddings(region: DemoRegion, root: Path) -> list[pystac.Item]:
    """Precomputed embeddings of a year, with 64 bands in one file as in the real product."""
    item = _create_item(
        region, EMBEDDING_COLLECTION.stac_collections[0], datetime(region.year, 1, 1, tzinfo=UTC)
    )
    raster = {"data_type": "int8", "nodata": EMBEDDING_COLLECTION.nodata}
    vectors = region.landscape.embeddings()
    _write_asset(root, item, "data", vectors, raster, nodata=EMBEDDING_COLLECTION.nodata)
    return [item]


def _create_item(region: DemoRegion, collection: str, time: datetime) -> pystac.Item:
    grid = pixel_grid(region)
    west, south, east, north = (round(edge, 7) for edge in lonlat_bounds(grid))
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return pystac.Item(
        id=f"{collection}-{region.name}-{time:%Y%m%d}",
        geometry={"type": "Polygon", "coordinates": [ring]},
        bbox=[west, south, east, north],
        datetime=time,
        properties={
            "proj:code": grid.crs,
            "proj:shape": list(grid.shape),
            "proj:transform": list(grid.transform),
        },
        collection=collection,
        stac_extensions=["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
    )


def _write_asset(
    root: Path,
    item: pystac.Item,
    key: str,
    pixels: NDArray[Any],
    raster_fields: dict[str, Any],
    *,
    nodata: float | None = None,
    band: str | None = None,
    role: str = "data",
) -> None:
    file = root / "data" / str(item.collection_id) / item.id / f"{key}.tif"
    file.parent.mkdir(parents=True, exist_ok=True)
    _write_cog(file, pixels, item, nodata)
    count = len(pixels) if pixels.ndim == 3 else 1
    fields: dict[str, Any] = {"raster:bands": [raster_fields] * count}
    if band is not None:
        fields["eo:bands"] = [
            {
                "name": f"B0{band[1:]}" if len(band) == 2 else band,
                "common_name": key,
                "center_wavelength": WAVELENGTHS_UM[BANDS.index(band)],
            }
        ]
    item.add_asset(
        key,
        pystac.Asset(str(file), media_type=pystac.MediaType.COG, roles=[role], extra_fields=fields),
    )


def _write_cog(file: Path, pixels: NDArray[Any], item: pystac.Item, nodata: float | None) -> None:
    import rasterio
    from affine import Affine

    layers = pixels if pixels.ndim == 3 else pixels[None]
    with rasterio.open(
        file,
        "w",
        driver="COG",
        width=layers.shape[2],
        height=layers.shape[1],
        count=len(layers),
        dtype=layers.dtype.name,
        crs=item.properties["proj:code"],
        transform=Affine(*item.properties["proj:transform"]),
        nodata=nodata,
        compress="DEFLATE",
        predictor="NO" if np.issubdtype(layers.dtype, np.floating) else "STANDARD",
        blocksize=128,
    ) as target:
        target.write(layers)
