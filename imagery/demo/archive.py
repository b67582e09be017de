"""The demo archive: a static STAC catalog of COGs with invented landscapes.

It is what the service fetches from where no source is configured, so that everything can be
tried with nothing to download.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from numpy.typing import NDArray
from pyproj import Transformer

from geobento.schemas.sample import PixelGrid
from imagery.collections.registry import COLLECTIONS
from imagery.demo.landscape import (
    BANDS,
    Landscape,
    cloud_percentage,
    to_top_of_atmosphere,
    true_color,
)
from imagery.grid import lonlat_bounds, utm_crs

DEMO_VERSION = "4"
DEMO_NOTICE = (
    "synthetic imagery: the landscape is invented, there is nothing of this kind on the ground"
)
PIXEL_SIZE_M = 10.0
CLOUD_FRACTIONS = (0.05, 0.45, 0.02, 0.6, 0.08, 0.0, 0.04, 0.35, 0.0, 0.7, 0.06, 0.5)
"""Shares of the twelve Sentinel-2 scenes of a place under clouds, about."""

WAVELENGTHS_UM = (
    0.443, 0.49, 0.56, 0.665, 0.704, 0.74, 0.783, 0.842, 0.865, 0.945, 1.61, 2.19,
)  # fmt: skip
"""Centres of the Sentinel-2 bands, in the order of `BANDS`."""

S2_ASSETS = {band: COLLECTIONS["COPERNICUS/S2_SR_HARMONIZED"].bands[band][0] for band in BANDS}


EMBEDDING_COLLECTION = COLLECTIONS["GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"]


@dataclass(frozen=True)
class DemoRegion:
    """One landscape of the archive."""

    name: str
    lon: float
    lat: float
    landscape: Landscape
    first_cloud_index: int = 0
    """Which of `CLOUDY` is January's."""
    year: int = 2023
    """When the satellites pass."""
    months: Sequence[int] = range(1, 13)
    """In which months."""

    def overpass_time(self, month: int, day: int, hour: float) -> datetime:
        """When a satellite passes that crosses the equator at an hour of local solar time."""
        utc = (hour - self.lon / 15) % 24
        return datetime(self.year, month, day, int(utc), int(utc % 1 * 60), tzinfo=UTC)


DEMO_REGIONS = (
    DemoRegion("savanna", 34.066, -3.401, Landscape(7, 256, 3.5, 1180, 60), first_cloud_index=9),
    DemoRegion("midlatitude", 11.03, 48.01, Landscape(23, 256, 6.5, 560, 90)),
    DemoRegion("delta", 121.5, 31.2, Landscape(41, 416, 7.0, 3, 8), year=2022, months=(7,)),
    DemoRegion("lowland", 120.5, 30.2, Landscape(59, 416, 7.5, 12, 40), year=2022, months=(7,)),
)
"""The first two for a year, the others, which examples written for other tools ask for, for one
month."""

ProgressCallback = Callable[[int, int], None]


def ensure_demo_archive(directory: Path) -> Path:
    """`catalog.json` of the demo archive in a folder, written if it is not there."""
    return write_demo_archive(directory)


def write_demo_archive(directory: Path, *, progress: ProgressCallback | None = None) -> Path:
    """Write the demo archive, whole or not at all.

    An archive of the same version is left as it is, an older one is replaced. Several processes
    may do this at once: one writes, the others wait for it.

    Args:
        directory: Where; a folder that does not exist, is empty, or holds a demo archive.
        progress: Called with scenes done and scenes in all.

    Returns:
        Its `catalog.json`.

    Raises:
        FileExistsError: Something else is there.
    """
    catalog = directory / "catalog.json"
    if _read_version(catalog) == DEMO_VERSION:
        return catalog
    target = directory.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive_lock(target.parent):
        if _read_version(catalog) == DEMO_VERSION:
            return catalog
        _check_target(target)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            (unfinished / "new").mkdir()
            _write_archive(unfinished / "new", progress)
            _install_archive(unfinished, target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return catalog


@contextmanager
def _exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder: no file of its own, and gone with the process that holds it.

    Some network file systems lock no folders; there everyone goes on, and `_put` sorts it out.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _install_archive(unfinished: Path, target: Path) -> None:
    """Move the archive `unfinished/new` to its place; if another was first, that one stays."""
    _check_target(target)
    if _read_version(target / "catalog.json") not in (None, DEMO_VERSION):
        with suppress(FileNotFoundError):
            os.rename(target, unfinished / "old")
    try:
        os.rename(unfinished / "new", target)
    except OSError:
        if _read_version(target / "catalog.json") != DEMO_VERSION:
            raise


def _check_target(target: Path) -> None:
    """Raise if there is something that is neither an empty folder nor a demo archive."""
    if target.is_dir():
        if _read_version(target / "catalog.json") is None and any(target.iterdir()):
            raise FileExistsError(f"{target} is not empty and holds no demo archive")
    elif target.exists():
        raise FileExistsError(f"{target} is not a folder")


def _read_version(catalog: Path) -> str | None:
    """Version of the demo archive that a catalog belongs to; None: it is no demo archive's."""
    try:
        record = json.loads(catalog.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    version = record.get("geobento:demo_version") if isinstance(record, dict) else None
    return str(version) if version else None


def _write_archive(root: Path, progress: ProgressCallback | None) -> None:
    catalog = pystac.Catalog(
        id="geobento-demo",
        description=(
            f"Demo archive of GeoBento, {DEMO_NOTICE}. Monthly Sentinel-2 L2A and L1C and "
            "Sentinel-1 RTC of two places over 2023 and of two in July 2022; their elevation and "
            "annual embeddings."
        ),
        extra_fields={"geobento:demo_version": DEMO_VERSION, "geobento:synthetic": True},
    )
    children = {name: _create_collection(name) for name in _COLLECTION_TITLES}
    catalog.add_children(children.values())
    jobs = [job for place in DEMO_REGIONS for job in _item_writers(place)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, items in enumerate(pool.map(lambda job: job(root), jobs), start=1):
            for item in items:
                children[str(item.collection_id)].add_item(item)
            if progress is not None:
                progress(done, len(jobs))
    catalog.normalize_hrefs(str(root))
    for child in children.values():
        child.update_extent_from_items()
    for item in catalog.get_items(recursive=True):
        item.make_asset_hrefs_relative()
    catalog.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)


def _item_writers(region: DemoRegion) -> Iterator[Callable[[Path], list[pystac.Item]]]:
    for month in region.months:
        yield partial(_write_sentinel_2, region, month)
        yield partial(_write_sentinel_1, region, month)
    yield partial(_write_elevation, region)
    yield partial(_write_embeddings, region)


def _write_sentinel_2(region: DemoRegion, month: int, root: Path) -> list[pystac.Item]:
    """One acquisition, as it is at the ground and as it is seen from space."""
    time = region.overpass_time(month, 10 + month % 5, 10.5)
    numbers, classes = region.landscape.scene(
        month, CLOUD_FRACTIONS[(month - 1 + region.first_cloud_index) % 12]
    )
    ground = _write_optical(root, region, time, "sentinel-2-l2a", numbers, classes)
    _write_asset(root, ground, "scl", classes, {"data_type": "uint8", "nodata": 0}, nodata=0)
    _write_asset(root, ground, "visual", true_color(numbers), {"data_type": "uint8"}, role="visual")
    return [
        ground,
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
    """The finished product of a year, in the layout of its files: 64 bands in one."""
    item = _create_item(
        region, EMBEDDING_COLLECTION.stac_collections[0], datetime(region.year, 1, 1, tzinfo=UTC)
    )
    raster = {"data_type": "int8", "nodata": EMBEDDING_COLLECTION.nodata}
    vectors = region.landscape.embeddings()
    _write_asset(root, item, "data", vectors, raster, nodata=EMBEDDING_COLLECTION.nodata)
    return [item]


def pixel_grid(region: DemoRegion) -> PixelGrid:
    """The pixels of a place: centred on it, corners at multiples of 10 m."""
    crs = utm_crs(region.lon, region.lat)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(region.lon, region.lat)
    size = region.landscape.size
    half = size * PIXEL_SIZE_M / 2
    left, top = (
        round((x - half) / PIXEL_SIZE_M) * PIXEL_SIZE_M,
        round((y + half) / PIXEL_SIZE_M) * PIXEL_SIZE_M,
    )
    return PixelGrid(crs, (PIXEL_SIZE_M, 0.0, left, 0.0, -PIXEL_SIZE_M, top), size, size)


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


_COLLECTION_TITLES = {
    "sentinel-2-l2a": "Sentinel-2 L2A, synthetic",
    "sentinel-2-l1c": "Sentinel-2 L1C, synthetic",
    "sentinel-1-rtc": "Sentinel-1 RTC, synthetic",
    "cop-dem-glo-30": "Elevation, synthetic",
    EMBEDDING_COLLECTION.stac_collections[0]: "Annual embeddings, synthetic",
}


def _create_collection(name: str) -> pystac.Collection:
    return pystac.Collection(
        id=name,
        title=_COLLECTION_TITLES[name],
        description=f"{_COLLECTION_TITLES[name]}: {DEMO_NOTICE}.",
        license="CC0-1.0",
        extent=pystac.Extent(
            pystac.SpatialExtent([[-180.0, -90.0, 180.0, 90.0]]),
            pystac.TemporalExtent([[datetime(2021, 1, 1, tzinfo=UTC), None]]),
        ),
    )
