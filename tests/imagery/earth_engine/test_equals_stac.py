"""Earth Engine and a STAC catalog give the same pixels."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pyproj import Transformer

from geobento.schemas.errors import (
    GeoBentoError,
    NoImageryError,
)
from geobento.schemas.sample import PixelGrid
from imagery.earth_engine.source import EarthEngineSource
from imagery.stac.catalogs.static import StaticCatalog
from imagery.stac.source import StacSource
from tests.imagery.earth_engine.scenes import names, sample_or_error
from tests.imagery.ee_server import Standin
from tests.imagery.queries import query, scene
from tests.imagery.world import WorldScene, shifted, write_catalog


@pytest.mark.parametrize("seed", range(30))
def test_the_same_pixels_as_a_stac_catalog(
    standin: Standin, source: EarthEngineSource, tmp_path: Path, seed: int
) -> None:
    """Random worlds and requests: pixels, validity and times do not depend on the source."""
    chance = random.Random(seed)
    crs, left, top = chance.choice(
        [("EPSG:32736", 617_400, 9_625_100), ("EPSG:32632", 499_980, 5_320_040),
         ("EPSG:32601", 300_000, 8_300_000), ("EPSG:32719", 650_020, 1_700_000)]
    )  # fmt: skip
    origin = PixelGrid(crs, (10.0, 0.0, float(left), 0.0, -10.0, float(top)), 24, 24)
    world = []
    for number in range(chance.randint(1, 12)):
        stamp = datetime(2023, 5, 28, 8, tzinfo=UTC) + timedelta(
            days=chance.randint(0, 36), seconds=chance.choice([0, 14, 900, 2400])
        )
        part = shifted(
            origin, chance.randint(-12, 12), chance.randint(-12, 12),
            chance.randint(20, 40), chance.randint(20, 40),
        )  # fmt: skip
        world.append(
            WorldScene(
                f"scene-{number:02}",
                stamp.isoformat(),
                seed=number,
                grid=part,
                cloud_pct=chance.choice([None, 0.0, 10.0, 30.0, 60.0]),
                cloudy=chance.random() < 0.7,
                holes=chance.random() < 0.5,
                properties={"SPACECRAFT_NAME": chance.choice(["Sentinel-2A", "Sentinel-2B"])},
                tile=f"T{number}",
            )
        )
    request = query(
        origin,
        bands=("B4", "B8A", "B2"),
        composite=chance.choice(["median", "mosaic"]),
        cloudy_pct=chance.choice([None, 10.0, 30.0]),
        fill_value=chance.choice([0.0, -1.0]),
    )
    standin.scenes = world
    from_stac = sample_or_error(
        StacSource(StaticCatalog(write_catalog(world, request.sensor.bands, tmp_path))), request
    )
    from_gee = sample_or_error(source, request)
    if isinstance(from_stac, GeoBentoError) or isinstance(from_gee, GeoBentoError):
        assert type(from_stac) is type(from_gee) is NoImageryError
        return
    np.testing.assert_array_equal(from_gee.pixels, from_stac.pixels)
    np.testing.assert_array_equal(from_gee.valid, from_stac.valid)
    assert from_gee.grid == from_stac.grid
    assert set(names(from_gee)) >= {s.id for s in from_stac.provenance.scenes}  # type: ignore[union-attr]


def test_across_a_zone_border(standin: Standin, source: EarthEngineSource, tmp_path: Path) -> None:
    """Scenes of the neighbouring zone come onto the same grid, within one digital number."""
    lon, lat = 11.998, 48.02
    west, east = (grid_around(lon, lat, crs, 400) for crs in ("EPSG:32632", "EPSG:32633"))
    standin.scenes = [scene(10, grid=west, smooth=True), scene(13, grid=east, smooth=True)]
    for method in ("median", "mosaic"):
        request = query(grid_around(lon, lat, "EPSG:32632", 200), composite=method)
        root = tmp_path / method
        catalog = StaticCatalog(write_catalog(standin.scenes, request.sensor.bands, root))
        from_stac, from_gee = StacSource(catalog).fetch(request), source.fetch(request)
        assert from_gee.valid is not None
        assert from_gee.valid.all()
        assert np.abs(from_gee.pixels - from_stac.pixels).max() <= 1
        assert len(np.unique(from_gee.pixels)) > 100


def grid_around(lon: float, lat: float, crs: str, size: int) -> PixelGrid:
    """A square of 10 m pixels in a CRS, with a region in its middle."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    left, top = round(x / 10) * 10 - 5 * size, round(y / 10) * 10 + 5 * size
    return PixelGrid(crs, (10.0, 0.0, left, 0.0, -10.0, top), size, size)
