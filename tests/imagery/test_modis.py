"""Surface reflectance of MODIS, as Planetary Computer and Earth Engine describe it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import pytest
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from geobento import PointBuffer, SensorSpec, TemporalSpec
from geobento.schemas.sample import PixelGrid
from imagery import grid
from imagery.earth_engine.source import EarthEngineSource
from imagery.query import ImageQuery
from imagery.stac.catalogs.factory import open_catalog
from imagery.stac.source import StacSource
from tests.imagery.catalogs import CatalogBuilder
from tests.imagery.ee_server import Standin
from tests.imagery.stac_server import StacServer
from tests.imagery.world import WorldScene

TERRA, AQUA = "MODIS/061/MOD09A1", "MODIS/061/MYD09A1"
BANDS = ("sur_refl_b01", "sur_refl_b04", "sur_refl_b03")
SINUSOIDAL = CRS("+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m").to_wkt()
PIXEL_M = 463.3127165279165
FILL = -28672
PROJECTION = "https://stac-extensions.github.io/projection/v1.0.0/schema.json"
REGION = PointBuffer(11.5, 48.1, 6000)
JUNE = TemporalSpec.range("2023-06-01", "2023-07-01").window


def lattice() -> PixelGrid:
    """A part of the sinusoidal lattice around the region."""
    x, y = Transformer.from_crs(4326, SINUSOIDAL, always_xy=True).transform(REGION.lon, REGION.lat)
    left, top = (round(edge / PIXEL_M) * PIXEL_M for edge in (x - 32 * PIXEL_M, y + 32 * PIXEL_M))
    return PixelGrid(SINUSOIDAL, (PIXEL_M, 0.0, left, 0.0, -PIXEL_M, top), 64, 64)


def composite(collection: str, start: str, seed: int) -> WorldScene:
    """Eight days."""
    name = f"{collection.rsplit('/', 1)[1]}.{start}"
    time = f"{start}T00:00:00+00:00"
    described = {"SPACECRAFT_NAME": "aqua" if collection == AQUA else "terra"}
    return WorldScene(name, time, seed, lattice(), None, holes=True, collection=collection,
                      properties=described)  # fmt: skip


WORLD = [
    composite(TERRA, "2023-05-25", 1),
    composite(TERRA, "2023-06-02", 2),
    composite(TERRA, "2023-06-10", 3),
    composite(AQUA, "2023-06-10", 4),
    composite(TERRA, "2023-06-18", 5),
]
"""The first begins before June and ends in it."""


def write(root: Path) -> None:
    """The world as Planetary Computer's items: no datetime, no EPSG code, one asset not to read."""
    builder = CatalogBuilder(root)
    for scene in WORLD:
        files = {
            band: np.where(scene.has_data(), scene.band(band), FILL).astype(np.int16)
            for band in BANDS
        }
        files["sur_refl_state_500m"] = scene.band("StateQA").astype(np.uint16)
        item = builder.add(
            "modis-09A1-061",
            scene.time,
            files,
            grid=scene.grid,
            nodata=FILL,
            item_id=scene.index,
            platform=scene.properties["SPACECRAFT_NAME"],
            start_datetime=scene.time,
            end_datetime=scene.time.replace("T00", "T23"),
            proj__epsg=None,
            proj__wkt2=SINUSOIDAL,
        )
        del item.properties["proj:code"]
        item.datetime = None
        item.stac_extensions.append(PROJECTION)
        hdf = pystac.Asset(f"{scene.index}.hdf", media_type="application/x-hdf", roles=["data"])
        item.add_asset("hdf", hdf)
    builder.save()


def expected(wanted: PixelGrid, scene: WorldScene) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Bands (C, H, W) at the nearest pixels, and where these are sure and show the ground."""
    a, _, left, _, e, top = wanted.transform
    x, y = np.meshgrid(
        left + a * (np.arange(wanted.width) + 0.5), top + e * (np.arange(wanted.height) + 0.5)
    )
    x, y = Transformer.from_crs(wanted.crs, SINUSOIDAL, always_xy=True).transform(x, y)
    _, _, left, _, _, top = scene.grid.transform
    columns, rows = (x - left) / PIXEL_M, (top - y) / PIXEL_M
    inner = [np.abs(at - np.floor(at) - 0.5) < 0.35 for at in (columns, rows)]
    at = np.floor(rows).astype(int), np.floor(columns).astype(int)
    shows = scene.has_data() & (scene.band("StateQA") == 1 << 3)
    return np.stack([scene.band(band)[at] for band in BANDS]), inner[0] & inner[1] & shows[at]


@pytest.mark.parametrize("platform", [TERRA, AQUA])
def test_the_sinusoidal_lattice_from_both_sources(
    standin: Standin,
    source: EarthEngineSource,
    stac: StacServer,
    tmp_path: Path,
    platform: str,
) -> None:
    """Nearest pixels by the world's formula, of one satellite, dated by their first day, without
    clouds and gaps.
    """
    standin.scenes = WORLD
    write(tmp_path)
    catalog = StacSource(open_catalog(stac.api(tmp_path), timeout_s=20), timeout_s=20)
    wanted = grid.for_region(REGION, 500)
    sensor = SensorSpec(platform, BANDS, scale_m=500, composite="mosaic", fill_value=-1)
    request = ImageQuery(sensor, wanted, *JUNE, "modis")
    samples = [source.fetch(request), catalog.fetch(request)]
    last = {TERRA: WORLD[4], AQUA: WORLD[3]}[platform]
    pixels, sure = expected(wanted, last)
    assert sure.mean() > 0.2
    for sample in samples:
        assert sample.valid is not None
        assert sample.valid[sure].all()
        np.testing.assert_array_equal(sample.pixels[:, sure], pixels[:, sure])
        assert sample.times[-1] == datetime.fromisoformat(last.time)
        assert all(time >= datetime(2023, 6, 1, tzinfo=UTC) for time in sample.times)
    assert len(samples[0].times) == len(samples[1].times) == {TERRA: 3, AQUA: 1}[platform]


def test_clouds_and_gaps_are_not_valid(stac: StacServer, tmp_path: Path) -> None:
    """Where the state flags or the fill value say so, and no pixel else."""
    write(tmp_path)
    catalog = StacSource(open_catalog(stac.api(tmp_path), timeout_s=20), timeout_s=20)
    sensor = SensorSpec(AQUA, BANDS, scale_m=PIXEL_M, composite="mosaic")
    sample = catalog.fetch(ImageQuery(sensor, lattice(), *JUNE, "modis"))
    shows = WORLD[3].has_data() & (WORLD[3].band("StateQA") == 1 << 3)
    assert 0.5 < shows.mean() < 0.9
    np.testing.assert_array_equal(sample.valid, shows)
