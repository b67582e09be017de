"""Imagery from a local server that speaks Earth Engine's protocol, through the real client."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from imagery.collections.schema import QualityMask
from imagery.collections.sentinel2 import MASKED_CLASSES
from imagery.compositing import clear_sky_mask
from imagery.compositing import composite as reference
from imagery.earth_engine.source import EarthEngineSource
from tests.imagery.catalogs import GRID
from tests.imagery.earth_engine.scenes import names
from tests.imagery.ee_server import Standin
from tests.imagery.queries import bands_of, query, scene
from tests.imagery.world import S2, shifted

SCL = QualityMask("SCL", classes=MASKED_CLASSES)


def test_one_scene_as_it_is(standin: Standin, source: EarthEngineSource) -> None:
    """Values, band order, rows from the north, provenance, and two requests in all."""
    standin.scenes = [scene(10, cloud_pct=3.5)]
    sample = source.fetch(query(bands=("B8", "B4")))
    np.testing.assert_array_equal(sample.pixels, bands_of(scene(10))[::-1])
    assert sample.pixels.dtype == np.float32
    assert sample.bands == ("B8", "B4")
    assert sample.grid == GRID
    assert sample.valid is not None
    assert sample.valid.all()
    assert sample.provenance is not None
    assert sample.provenance.backend == source.backend == "gee"
    (used,) = sample.provenance.scenes
    assert used.id == f"{S2}/scene-10"
    assert used.cloud_pct == 3.5
    assert sample.times == (datetime(2023, 6, 10, 8, tzinfo=UTC),)
    assert [request.call for request in standin.requests] == ["compute", "computePixels"]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("method", ["median", "mosaic"])
def test_composites_without_clouds_and_gaps(
    standin: Standin, source: EarthEngineSource, method: Any, count: int
) -> None:
    """Median with halves kept, or the latest on top, of what the scene classification leaves."""
    standin.scenes = [scene(day, cloudy=True, holes=True) for day in range(1, count + 1)]
    sample = source.fetch(query(composite=method, fill_value=-7))
    stack = np.stack([bands_of(each) for each in standin.scenes]).astype(np.float32)
    valid = np.stack(
        [each.has_data() & clear_sky_mask(each.band("SCL"), SCL) for each in standin.scenes]
    )
    pixels, whole = reference(stack, valid, method, -7)
    np.testing.assert_array_equal(sample.pixels, pixels)
    np.testing.assert_array_equal(sample.valid, whole)
    assert (sample.pixels % 1).any() == (method == "median" and count > 1)


def test_outside_of_all_scenes_is_the_fill_value(
    standin: Standin, source: EarthEngineSource
) -> None:
    """A grid that reaches beyond the imagery is not valid there."""
    standin.scenes = [scene(10)]
    sample = source.fetch(query(shifted(GRID, 20, -3, 24, 24), fill_value=-9))
    assert sample.valid is not None
    expected = np.zeros((24, 24), bool)
    expected[3:, :4] = True
    np.testing.assert_array_equal(sample.valid, expected)
    assert (sample.pixels[:, ~expected] == -9).all()
    np.testing.assert_array_equal(sample.pixels[:, 3:, :4], bands_of(scene(10))[:, :21, 20:])


def test_tiles_of_one_pass_count_once(standin: Standin, source: EarthEngineSource) -> None:
    """Where two tiles of a pass overlap, the median takes one of them: the first."""
    twin = replace(scene(10, tile="36MZB"), index="twin", time="2023-06-10T08:00:14Z", seed=77)
    others = [scene(12), scene(14)]
    standin.scenes = [twin, scene(10, holes=True), *others]
    sample = source.fetch(query())
    first = np.where(scene(10, holes=True).has_data(), bands_of(scene(10)), bands_of(twin))
    middle = np.median([first, *(bands_of(each) for each in others)], axis=0)
    np.testing.assert_array_equal(sample.pixels, middle)
    assert names(sample) == ["scene-10", "twin", "scene-12", "scene-14"]


def test_of_a_scene_processed_twice_the_newer_is_taken(
    standin: Standin, source: EarthEngineSource
) -> None:
    """An acquisition counts once, in its latest processing."""
    old = replace(scene(10), index="old", seed=5, properties={"PROCESSING_BASELINE": "02.14"})
    standin.scenes = [scene(10), old]
    sample = source.fetch(query())
    np.testing.assert_array_equal(sample.pixels, bands_of(scene(10)))
    assert names(sample) == ["scene-10"]


def test_several_frames_in_one_request(standin: Standin, source: EarthEngineSource) -> None:
    """Composites of the parts of a window come from one request, in order, without empty parts."""
    standin.scenes = [scene(day) for day in (3, 5, 25)]
    sample = source.fetch(replace(query(), frames=3))
    both = (bands_of(scene(3)) + bands_of(scene(5))) / 2
    np.testing.assert_array_equal(sample.pixels, [both, bands_of(scene(25))])
    assert sample.parts == (0, 2)
    assert sample.valid is not None
    assert sample.valid.shape == (2, *GRID.shape)
    assert [time.day for time in sample.times] == [4, 25]
    assert names(sample) == ["scene-03", "scene-05", "scene-25"]
    assert len(standin.calls("computePixels")) == 1


def test_a_series_of_one_is_still_a_series(standin: Standin, source: EarthEngineSource) -> None:
    """Where all parts but one are empty, the sample says which one it is."""
    standin.scenes = [scene(25)]
    sample = source.fetch(replace(query(), frames=3))
    np.testing.assert_array_equal(sample.pixels, [bands_of(scene(25))])
    assert sample.parts == (2,)


@pytest.mark.parametrize("days", [(1,), (1, 2), (1, 2, 3)])
def test_integers_come_in_16_bits(
    standin: Standin, source: EarthEngineSource, days: tuple[int, ...]
) -> None:
    """Two bytes for a pixel of a band, halves of medians and gaps included."""
    standin.scenes = [scene(day, cloudy=True, holes=True) for day in days]
    source.fetch(query())
    (request,) = standin.calls("computePixels")
    assert 24 * 24 * 2 * 2 < request.sent < 24 * 24 * 2 * 2 + 300


@pytest.mark.parametrize("days", [(1,), (1, 2)])
@pytest.mark.parametrize("number", [-1, 0, 32_766, 32_767, 65_533, 65_535, 100_000])
def test_numbers_beyond_16_bits_are_requested_again(
    standin: Standin, source: EarthEngineSource, days: tuple[int, ...], number: int
) -> None:
    """Whatever a pixel holds is answered; where it does not fit, from a second request."""
    standin.scenes = [scene(day, number=number, holes=True) for day in days]
    sample = source.fetch(query(fill_value=-7))
    seen = np.any([each.has_data() for each in standin.scenes], axis=0)
    assert (sample.pixels[:, seen] == number).all()
    np.testing.assert_array_equal(sample.valid, seen)
    fits_16_bits = 0 <= number <= (32_766 if len(days) == 2 else 65_532)
    assert len(standin.calls("computePixels")) == (1 if fits_16_bits else 2)


def june(day: int) -> datetime:
    return datetime(2023, 6, day, tzinfo=UTC)
