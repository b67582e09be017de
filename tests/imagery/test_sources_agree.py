"""The same requests through Earth Engine and a STAC API, over the same invented world."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyproj import Transformer

from geobento import PointBuffer, SensorSpec
from geobento.schemas.errors import NoImageryError
from geobento.schemas.sample import PixelGrid, Sample
from imagery import grid
from imagery.compositing import composite, fuser
from imagery.earth_engine.source import EarthEngineSource
from imagery.query import ImageQuery
from imagery.scenes import group_passes
from imagery.source import Source
from imagery.stac.catalogs.factory import open_catalog
from imagery.stac.source import StacSource
from tests.imagery.ee_server import Standin
from tests.imagery.stac_server import StacServer
from tests.imagery.world import S2, WorldScene, shifted, write_catalog

BANDS = ("B4", "B8A", "B2")
START, END = datetime(2023, 6, 1, tzinfo=UTC), datetime(2023, 7, 1, tzinfo=UTC)
SECOND = timedelta(milliseconds=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_random_requests(
    standin: Standin, source: EarthEngineSource, stac: StacServer, tmp_path: Path, seed: int
) -> None:
    """Pixels, validity, grids, times and scenes are equal, and follow from the world's formula.

    A third of the regions lie at the border of two zones, with scenes of both: there the nearest
    pixel may be another by rounding, which in these smooth scenes is one digital number.
    """
    chance = random.Random(seed)
    border = seed % 3 == 0
    zone = chance.randint(1, 59)
    longitude = 6 * zone - 180 + (chance.uniform(-0.003, 0.003) if border else -3.0)
    region = PointBuffer(round(longitude, 4), round(chance.uniform(-75, 75), 3), 160)
    wanted = grid.for_region(region, 10, 10)
    world = [_scene(chance, number, wanted, border) for number in range(chance.randint(1, 12))]
    request = ImageQuery(
        SensorSpec(
            S2,
            BANDS,
            composite=chance.choice(["median", "mosaic"]),
            cloudy_pct=chance.choice([None, 10.0, 30.0]),
            fill_value=chance.choice([0.0, -1.0]),
        ),
        wanted,
        START,
        END,
        "s2",
        frames=chance.choice([1, 1, 4, 12]),
    )
    standin.scenes = world
    write_catalog(world, BANDS, tmp_path)
    api = StacSource(open_catalog(stac.api(tmp_path), timeout_s=20), timeout_s=20)
    both = [_answer(each, request) for each in (source, api)]
    used = _within(world, request)
    if isinstance(both[0], NoImageryError) or isinstance(both[1], NoImageryError):
        assert [type(answer) for answer in both] == [NoImageryError] * 2
        return
    gee, from_stac = both
    assert gee.grid == from_stac.grid == wanted
    assert gee.parts == from_stac.parts
    assert gee.pixels.shape == from_stac.pixels.shape
    assert {_name(scene) for scene in _scenes(from_stac)} <= {_name(s) for s in _scenes(gee)}
    assert {_name(scene) for scene in _scenes(gee)} <= {scene.index for scene in used}
    np.testing.assert_array_equal(gee.valid, from_stac.valid)
    if border:
        assert np.abs(gee.pixels - from_stac.pixels).max() <= 1
        return
    np.testing.assert_array_equal(gee.pixels, from_stac.pixels)
    if request.frames == 1:
        expected, whole = _expected(used, request)
        np.testing.assert_allclose(from_stac.pixels, expected, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(from_stac.valid, whole)


def _scene(chance: random.Random, number: int, wanted: PixelGrid, border: bool) -> WorldScene:
    """A scene around the region, in the window or at one of its ends."""
    time = chance.choice([START - SECOND, START, END - SECOND, END])
    if chance.random() < 0.85:
        days = timedelta(days=chance.randint(-2, 31), hours=8)
        time = START + days + timedelta(seconds=chance.choice([0, 14, 900, 2400]))
    margin = 12 if not border else 40
    part = shifted(
        wanted,
        chance.randint(-margin, 8 if not border else -30),
        chance.randint(-margin, 8 if not border else -30),
        wanted.height + (chance.randint(-8, 16) if not border else 80),
        wanted.width + (chance.randint(-8, 16) if not border else 80),
    )
    if border and chance.random() < 0.5:
        part = _in_next_zone(part)
    return WorldScene(
        f"scene-{number:02}",
        time.isoformat(),
        seed=number,
        grid=part,
        cloud_pct=chance.choice([None, 0.0, 10.0, 30.0, 60.0]),
        cloudy=not border and chance.random() < 0.7,
        holes=not border and chance.random() < 0.5,
        smooth=border,
        properties={"SPACECRAFT_NAME": chance.choice(["Sentinel-2A", "Sentinel-2B"])},
        tile=f"T{number}",
    )


def _in_next_zone(part: PixelGrid) -> PixelGrid:
    """About the same pixels in the UTM zone on the other side of the border."""
    number = int(part.crs[-2:])
    a, b, left, d, e, top = part.transform
    x, y = left + a * part.width / 2, top + e * part.height / 2
    to_degrees = Transformer.from_crs(part.crs, "EPSG:4326", always_xy=True)
    longitude, _ = to_degrees.transform(x, y)
    east = round((longitude + 180) / 6) >= number
    crs = f"{part.crs[:-2]}{number + 1 if east else number - 1:02}"
    x, y = Transformer.from_crs(part.crs, crs, always_xy=True).transform(x, y)
    left, top = round(x / 10 - part.width / 2) * 10, round(y / 10 + part.height / 2) * 10
    return PixelGrid(crs, (a, b, float(left), d, e, float(top)), part.height, part.width)


def _within(world: list[WorldScene], request: ImageQuery) -> list[WorldScene]:
    """The scenes of the window that are clear enough, oldest first."""
    limit = request.sensor.cloudy_pct
    used = [
        scene
        for scene in world
        if START <= datetime.fromisoformat(scene.time) < END
        and (limit is None or scene.cloud_pct is None or scene.cloud_pct <= limit)
    ]
    return sorted(used, key=lambda scene: (datetime.fromisoformat(scene.time), scene.index))


def _expected(used: list[WorldScene], request: ImageQuery) -> tuple[NDArray[Any], NDArray[Any]]:
    """The composite by the world's formula; scenes lie on the lattice that is asked for."""
    stack = np.zeros((len(used), len(BANDS), *request.grid.shape), np.float32)
    valid = np.zeros(stack.shape, bool)
    for position, scene in enumerate(used):
        column = round((scene.grid.transform[2] - request.grid.transform[2]) / 10)
        row = round((request.grid.transform[5] - scene.grid.transform[5]) / 10)
        rows = slice(max(row, 0), max(row + scene.grid.height, 0))
        columns = slice(max(column, 0), max(column + scene.grid.width, 0))
        of_scene = np.s_[max(-row, 0) :, max(-column, 0) :]
        shape = stack[0, 0, rows, columns].shape
        cut = np.s_[: shape[0], : shape[1]]
        for band, name in enumerate(BANDS):
            stack[position, band, rows, columns] = scene.band(name)[of_scene][cut]
            valid[position, band, rows, columns] = scene.visible()[of_scene][cut]
    looks = [
        (scene.described()["SPACECRAFT_NAME"], datetime.fromisoformat(scene.time)) for scene in used
    ]
    fused, seen = fuser(stack, valid, group_passes(looks))
    return composite(fused, seen, request.sensor.composite, request.sensor.fill_value)


def _answer(source: Source, request: ImageQuery) -> Any:
    try:
        return source.fetch(request)
    except NoImageryError as error:
        return error


def _scenes(sample: Sample) -> tuple[Any, ...]:
    assert sample.provenance is not None
    return sample.provenance.scenes


def _name(scene: Any) -> str:
    return str(scene.id.rsplit("/", 1)[-1])
