"""Imagery from a stand-in for Earth Engine, over HTTP, through the real client."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from geobento import SensorSpec, TemporalSpec
from geobento.schemas.errors import (
    GeoBentoError,
    ModelError,
    NoImageryError,
    PayloadTooLarge,
    SourceError,
)
from geobento.schemas.sample import PixelGrid, Sample
from imagery.collections import registry
from imagery.collections.schema import QualityMask
from imagery.collections.sentinel2 import CLOUD_SCORE_PLUS, MASKED_CLASSES
from imagery.compositing import clear_sky_mask
from imagery.compositing import composite as reference
from imagery.earth_engine import tiling
from imagery.earth_engine.source import EarthEngineSource
from imagery.earth_engine.tiling import fits_one_request, split_grid
from imagery.query import ImageQuery
from imagery.stac.catalogs.static import StaticCatalog
from imagery.stac.source import StacSource
from tests.imagery.catalogs import GRID
from tests.imagery.conftest import open_client
from tests.imagery.ee_server import Fault, Standin
from tests.imagery.world import S2, WorldScene, shifted, write_catalog

SENSOR = SensorSpec(S2, ("B4", "B8"))
SCL = QualityMask("SCL", classes=MASKED_CLASSES)
WINDOW = TemporalSpec.range("2023-06-01", "2023-07-01").window
S1 = "COPERNICUS/S1_GRD_FLOAT"
SENT_BYTES = 3
"""Of a pixel of whole numbers: 16 bits, and the byte of its mask."""


def query(pixel_grid: PixelGrid = GRID, **sensor: Any) -> ImageQuery:
    """June at the test's region."""
    return ImageQuery(replace(SENSOR, **sensor), pixel_grid, *WINDOW, "s2")


def scene(day: int, **given: Any) -> WorldScene:
    """A scene of a day in June with its own numbers."""
    return WorldScene(f"scene-{day:02}", f"2023-06-{day:02}T08:00:00Z", seed=day, **given)


def radar_scene(day: int, **given: Any) -> WorldScene:
    """A Sentinel-1 scene."""
    properties = {
        "platform_number": "A",
        "instrumentMode": "IW",
        "transmitterReceiverPolarisation": ["VV", "VH"],
        "orbitProperties_pass": "ASCENDING",
        **given.pop("properties", {}),
    }
    return scene(day, collection=S1, properties=properties, **given)


def bands_of(world_scene: WorldScene) -> Any:
    """Both bands, (C, H, W)."""
    return np.stack([world_scene.band(band) for band in SENSOR.bands])


def names(sample: Sample) -> list[str]:
    """The scenes that an answer names, without their collection."""
    assert sample.provenance is not None
    return [used.id.rsplit("/", 1)[1] for used in sample.provenance.scenes]


# -- pixels ------------------------------------------------------------------------------------


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
    assert [request.call for request in standin.asked] == ["compute", "computePixels"]


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
def test_whole_numbers_come_in_16_bits(
    standin: Standin, source: EarthEngineSource, days: tuple[int, ...]
) -> None:
    """Two bytes for a pixel of a band, halves of medians and gaps included."""
    standin.scenes = [scene(day, cloudy=True, holes=True) for day in days]
    source.fetch(query())
    (request,) = standin.calls("computePixels")
    assert 24 * 24 * 2 * 2 < request.sent < 24 * 24 * 2 * 2 + 300


@pytest.mark.parametrize("days", [(1,), (1, 2)])
@pytest.mark.parametrize("number", [-1, 0, 32_766, 32_767, 65_533, 65_535, 100_000])
def test_numbers_beyond_16_bits_are_asked_for_again(
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


# -- which scenes ------------------------------------------------------------------------------


def _june(day: int) -> datetime:
    return datetime(2023, 6, day, tzinfo=UTC)


def test_the_window_is_half_open(standin: Standin, source: EarthEngineSource) -> None:
    """A scene at the start is in, one at the end is out, to the millisecond."""
    standin.scenes = [
        replace(scene(1), index="before", time="2023-05-31T23:59:59.999Z"),
        replace(scene(2), index="start", time="2023-06-01T00:00:00Z"),
        replace(scene(3), index="last", time="2023-06-30T23:59:59.999Z"),
        replace(scene(4), index="end", time="2023-07-01T00:00:00Z"),
    ]
    assert names(source.fetch(query())) == ["start", "last"]
    later = replace(query(), start=WINDOW[0] + timedelta(microseconds=1))
    assert names(source.fetch(later)) == ["last"]


def test_too_cloudy_scenes_are_left_out(standin: Standin, source: EarthEngineSource) -> None:
    """At the limit is in; a scene that states no clouds is in; null takes all."""
    standin.scenes = [
        scene(1, cloud_pct=30.0),
        scene(2, cloud_pct=30.1),
        scene(3, cloud_pct=None),
    ]
    assert names(source.fetch(query())) == ["scene-01", "scene-03"]
    assert len(names(source.fetch(query(cloudy_pct=None)))) == 3


def test_nothing_says_what_was_seen(standin: Standin, source: EarthEngineSource) -> None:
    """No scene, too cloudy ones, or none with a usable pixel: 422, and how many there were."""
    with pytest.raises(NoImageryError, match="no scene") as caught:
        source.fetch(query())
    assert caught.value.detail["scenes_in_window"] == 0
    standin.scenes = [scene(1, cloud_pct=80.0), scene(2, cloud_pct=60.0)]
    with pytest.raises(NoImageryError, match="at most 30 % cloud; of 2 scenes") as caught:
        source.fetch(query())
    assert caught.value.detail["min_cloud_pct"] == 60
    corner = shifted(GRID, 23, 23, 24, 24)
    empty = (scene(day, grid=corner, holes=True) for day in range(1, 29))
    standin.scenes = [next(each for each in empty if not each.has_data()[0, 0])]
    with pytest.raises(NoImageryError, match="usable pixel here"):
        source.fetch(query())


@pytest.mark.parametrize(
    ("sensor", "expected"),
    [
        ({}, ["scene-01", "scene-04"]),
        ({"s1_require_iw": False}, ["scene-01", "scene-02", "scene-04"]),
        ({"orbit": "DESCENDING"}, ["scene-04"]),
        ({"bands": ("HH",)}, ["scene-03"]),
        ({"bands": ("HH",), "s1_relax_iw_on_empty": False}, []),
    ],
)
def test_radar_scenes_by_mode_polarisation_and_direction(
    standin: Standin, source: EarthEngineSource, sensor: dict[str, Any], expected: list[str]
) -> None:
    """Wide swath where there is any, with all bands, and only the direction asked for."""
    standin.scenes = [
        radar_scene(1),
        radar_scene(2, properties={"instrumentMode": "SM"}),
        radar_scene(
            3, properties={"instrumentMode": "EW", "transmitterReceiverPolarisation": ["HH"]}
        ),
        radar_scene(4, properties={"orbitProperties_pass": "DESCENDING"}),
    ]
    request = query(collection=S1, **{"bands": ("VV", "VH"), **sensor})
    if not expected:
        with pytest.raises(NoImageryError):
            source.fetch(request)
        return
    sample = source.fetch(request)
    assert names(sample) == expected
    assert sample.provenance is not None
    assert "sigma nought" in str(sample.provenance.notice)


def test_radar_is_resampled_between_pixels(standin: Standin, source: EarthEngineSource) -> None:
    """Half a pixel aside, each value is the mean of its neighbours."""
    standin.scenes = [radar_scene(1)]
    a, b, left, d, e, top = GRID.transform
    inner = PixelGrid(GRID.crs, (a, b, left + 15, d, e, top - 10), 8, 8)
    sample = source.fetch(query(inner, collection=S1, bands=("VV",)))
    band = radar_scene(1).band("VV")
    np.testing.assert_allclose(sample.pixels[0], (band[1:9, 1:9] + band[1:9, 2:10]) / 2, rtol=1e-6)


def test_radar_borders_are_no_data(standin: Standin, source: EarthEngineSource) -> None:
    """Power of 0 is not a measurement."""
    standin.scenes = [radar_scene(1, border=True)]
    sample = source.fetch(query(collection=S1, bands=("VV",)))
    assert sample.valid is not None
    assert not sample.valid[:, 0].any()
    assert sample.valid[:, 1:].all()


def test_radar_scenes_without_a_band(standin: Standin, source: EarthEngineSource) -> None:
    """The error names the bands that no scene has."""
    standin.scenes = [radar_scene(1)]
    with pytest.raises(ModelError, match="HH") as caught:
        source.fetch(query(collection=S1, bands=("HH",)))
    assert caught.value.field == "sensor.bands"


def test_quality_bits_hide_clouds(standin: Standin, source: EarthEngineSource) -> None:
    """Landsat's bits leave out exactly the pixels that have one of them."""
    landsat = "LANDSAT/LC08/C02/T1_L2"
    standin.scenes = [scene(1, collection=landsat)]
    sample = source.fetch(query(collection=landsat, bands=("SR_B4",), scale_m=30))
    hidden = standin.scenes[0].band("QA_PIXEL") == 1 << 3
    np.testing.assert_array_equal(sample.valid, ~hidden)


@pytest.mark.parametrize("collection", [S2, "COPERNICUS/S2_HARMONIZED"])
def test_cloud_score_plus_hides_clouds(
    standin: Standin, source: EarthEngineSource, collection: str
) -> None:
    """Where it is asked for, it alone decides: at 0.6 is in; a scene without scores shows nothing.
    It is found by the scene's index, whatever else there is.
    """
    scored, unscored = (scene(day, cloudy=True, collection=collection) for day in (1, 2))
    scores = replace(scored, seed=5, collection=CLOUD_SCORE_PLUS.id)
    standin.scenes = [replace(scores, index="scene-00", seed=9), unscored, scored, scores]
    request = query(collection=collection, cloud_mask="cloud_score_plus")
    sample = source.fetch(request)
    clear_enough = scores.band("cs_cdf") >= 0.6
    assert 0.3 < clear_enough.mean() < 0.7
    np.testing.assert_array_equal(sample.valid, clear_enough)
    shown = sample.pixels[:, clear_enough]
    np.testing.assert_array_equal(shown, bands_of(scored)[:, clear_enough])
    standin.scenes = [unscored]
    with pytest.raises(NoImageryError, match="usable pixel"):
        source.fetch(request)


@pytest.mark.parametrize(
    ("collection", "stated", "processing", "offset"),
    [
        (S2, {"PROCESSING_BASELINE": "05.09"}, "05.09", True),
        (S2, {"PROCESSING_BASELINE": "04.00"}, "04.00", True),
        (S2, {"PROCESSING_BASELINE": "03.01"}, "03.01", False),
        (S2, {"PROCESSING_BASELINE": None}, None, False),
        ("LANDSAT/LC08/C02/T1_L2", {}, None, False),
    ],
)
def test_answers_tell_the_processing(
    standin: Standin,
    source: EarthEngineSource,
    collection: str,
    stated: dict[str, Any],
    processing: str | None,
    offset: bool,
) -> None:
    """The baseline of every scene, and whether Earth Engine took its offset out."""
    standin.scenes = [scene(1, collection=collection, properties=stated)]
    bands = ("SR_B4",) if "LANDSAT" in collection else SENSOR.bands
    origin = source.fetch(query(collection=collection, bands=bands)).provenance
    assert origin is not None
    (used,) = origin.scenes
    assert (used.processing, used.offset_applied) == (processing, offset)


def test_elevation_has_no_window(standin: Standin, source: EarthEngineSource) -> None:
    """What is the same at all times is found whatever the window, and tiles are not averaged."""
    dem = "COPERNICUS/DEM/GLO30"
    tile = replace(scene(1, collection=dem, holes=True), time="2011-01-01T00:00:00Z")
    other = replace(scene(2, collection=dem), time="2012-01-01T00:00:00Z")
    standin.scenes = [other, tile]
    sample = source.fetch(query(collection=dem, bands=("DEM",)))
    expected = np.where(tile.has_data(), tile.band("DEM"), other.band("DEM"))
    np.testing.assert_array_equal(sample.pixels[0], expected)


def test_unknown_bands_and_collections_ask_nothing(
    standin: Standin, source: EarthEngineSource
) -> None:
    """The errors list what is accepted."""
    with pytest.raises(ModelError, match="B8A"):
        source.fetch(query(bands=("B99",)))
    with pytest.raises(ModelError, match="COPERNICUS/S2_SR_HARMONIZED"):
        source.fetch(query(collection="COPERNICUS/S9"))
    assert standin.asked == []


# -- large grids -------------------------------------------------------------------------------


def test_split_requests_give_the_same_pixels(standin: Standin, source: EarthEngineSource) -> None:
    """Grids too large for Earth Engine's memory come in parts, to the same result."""
    standin.scenes = [scene(day, cloudy=True, holes=True) for day in (1, 2)]
    odd = shifted(GRID, 0, 0, 101, 67)
    whole = source.fetch(query(odd))
    standin.most_pixels = 1600
    parts = source.fetch(query(odd))
    np.testing.assert_array_equal(parts.pixels, whole.pixels)
    np.testing.assert_array_equal(parts.valid, whole.valid)
    assert len(standin.calls("compute")) == 2


def test_grids_over_the_byte_limit_are_split_beforehand(
    standin: Standin, source: EarthEngineSource
) -> None:
    """No request is sent that Earth Engine would refuse for its size."""
    standin.scenes = [scene(10)]
    large = shifted(GRID, 0, 0, 1200, 1200)
    bands = tuple(registry.get(S2).bands)
    sample = source.fetch(query(large, bands=bands))
    assert sample.pixels.shape == (12, 1200, 1200)
    np.testing.assert_array_equal(sample.pixels[3, :24, :24], scene(10).band("B4"))
    sizes = [request.body["grid"]["dimensions"] for request in standin.calls("computePixels")]
    assert [(size["height"], size["width"]) for size in sizes] == [(600, 1200)] * 2


def test_scenes_too_many_even_for_a_small_grid(standin: Standin, source: EarthEngineSource) -> None:
    """Splitting ends, with the numbers."""
    standin.scenes = [scene(1), scene(2)]
    standin.most_pixels = 10
    with pytest.raises(PayloadTooLarge, match="2 bands of 2 passes") as caught:
        source.fetch(query())
    assert caught.value.detail == {"bands": 2, "passes": 2, "height": 24, "width": 24}


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 320))
def test_halves_cover_the_grid(height: int, width: int, pixel_bytes: int) -> None:
    """Both parts lie side by side on the same lattice, and cutting on ends within the limit."""
    if height == width == 1:
        return
    whole = shifted(GRID, 5, 9, height, width)
    first, second, axis = split_grid(whole)
    assert first.bounds[1 if axis == 0 else 2] == second.bounds[3 if axis == 0 else 0]
    assert first.shape[axis] + second.shape[axis] == whole.shape[axis]
    assert first.shape[1 - axis] == second.shape[1 - axis] == whole.shape[1 - axis]
    assert (first.bounds[0], first.bounds[3]) == (whole.bounds[0], whole.bounds[3])
    assert (second.bounds[1], second.bounds[2]) == (whole.bounds[1], whole.bounds[2])
    while not fits_one_request(whole, pixel_bytes):
        whole = split_grid(whole)[1]


def test_a_survey_asks_for_scenes_alone(
    standin: Standin, source: EarthEngineSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the scenes of a fetch and counts the requests that the fetch then makes."""
    monkeypatch.setattr(tiling, "MAX_REQUEST_BYTES", 1000 * SENT_BYTES)
    standin.scenes = [scene(10), scene(20), scene(15, cloud_pct=99)]
    survey = source.estimate(query())
    assert [request.call for request in standin.asked] == ["compute"]
    standin.asked = []
    assert survey.provenance == source.fetch(query()).provenance
    assert len(survey.provenance.scenes) == 2
    assert survey.requests == len(standin.asked) == 3
    assert survey.bytes == 24 * 24 * 2 * SENT_BYTES
    standin.scenes = standin.scenes[2:]
    with pytest.raises(NoImageryError, match="of 1 scenes, none is within the limits"):
        source.estimate(query())


# -- faults ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, "Too Many Requests"),
        Fault(500, "An internal error has occurred"),
        Fault(502, "Bad gateway"),
        Fault(503, "The service is currently unavailable"),
        Fault(504, "Deadline exceeded"),
        Fault(truncated=True),
        Fault(damaged=True),
    ],
)
def test_what_passes_is_tried_again(
    standin: Standin, source: EarthEngineSource, waits: list[float], fault: Fault
) -> None:
    """One failure of either request changes nothing about the pixels."""
    standin.scenes = [scene(10)]
    standin.faults = [fault, None, fault, fault, None]
    sample = source.fetch(query())
    np.testing.assert_array_equal(sample.pixels, bands_of(scene(10)))
    assert len(standin.asked) == 5
    assert len(waits) == 3


def test_retry_after_is_waited_for(standin: Standin, source: EarthEngineSource) -> None:
    """No request of anyone begins before the time that the server asked for."""
    standin.scenes = [scene(10)]
    standin.faults = [Fault(429, "Too Many Requests", {"Retry-After": "1"})]
    source.fetch(query())
    first, second, _ = standin.asked
    assert second.begun - first.begun >= 1


def test_a_quota_that_stays_used_up(standin: Standin, tmp_path: Path, waits: list[float]) -> None:
    """The error names Earth Engine and says when to come back; till then it is not asked."""
    source = EarthEngineSource(open_client(standin, tmp_path), timeout_s=20)
    standin.scenes = [scene(10)]
    standin.fault = lambda: Fault(429, "Quota exceeded")
    with pytest.raises(SourceError, match="Earth Engine answered 429") as caught:
        source.fetch(query())
    assert caught.value.retry_after == 10
    standin.fault = lambda: Fault(429, "Quota exceeded", {"Retry-After": "60"})
    with pytest.raises(SourceError) as caught:
        source.fetch(query())
    assert caught.value.retry_after == 60
    request = len(standin.asked)
    with pytest.raises(SourceError, match="by its own word"):
        source.fetch(query())
    assert len(standin.asked) == request


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(400, "Something is invalid."), "answered 400: Something is invalid."),
        (Fault(403, "Caller does not have required permission"), "earthengine authenticate"),
        (Fault(401, "bad credentials"), "earthengine authenticate"),
        (Fault(404, "Not found"), "answered 404"),
        (Fault(302, "elsewhere", {"Location": "http://127.0.0.1:9/"}), "answered 302"),
    ],
)
def test_what_stays_is_not_tried_again(
    standin: Standin, source: EarthEngineSource, fault: Fault, message: str
) -> None:
    """Refusals are told after one request."""
    standin.faults = [fault]
    with pytest.raises(SourceError, match=message):
        source.fetch(query())
    assert len(standin.asked) == 1


def test_a_band_that_scenes_lack(standin: Standin, source: EarthEngineSource) -> None:
    """Old NAIP scenes have no infrared: an error of the request, not of the source."""
    standin.scenes = [scene(10)]
    standin.faults = [None, Fault(400, "Image.select: Band pattern 'N' did not match any bands.")]
    with pytest.raises(ModelError, match="'N'"):
        source.fetch(query())


def test_nothing_lasts_past_its_deadline(standin: Standin, tmp_path: Path) -> None:
    """A server that is silent, or always busy, is named when the time is over."""
    impatient = EarthEngineSource(open_client(standin, tmp_path), timeout_s=0.3)
    standin.faults = [Fault(delay_s=1.0)]
    begun = time.monotonic()
    with pytest.raises(SourceError, match="did not answer"):
        impatient.fetch(query())
    standin.fault = lambda: Fault(503, "unavailable", {"Retry-After": "1"})
    with pytest.raises(SourceError, match="answered 503"):
        impatient.fetch(query())
    assert time.monotonic() - begun < 10
    assert len(standin.asked) == 2


@pytest.mark.parametrize("count", [24, pytest.param(300, marks=pytest.mark.slow)])
def test_under_faults_every_answer_is_right(standin: Standin, tmp_path: Path, count: int) -> None:
    """A third of all answers go wrong: every region gets its pixels or a named error, no more is in
    flight than allowed, no retry is early, and nothing lasts past its deadline.
    """
    timeout_s, later_s = 30.0, 1.0
    # Neither the regions nor the halves and quarters of any two of them are the same.
    whole = shifted(GRID, 0, 0, 60, 55)
    regions = [(number % 20, number // 20) for number in range(count)]
    standin.scenes = [scene(day, cloudy=True, grid=whole) for day in (1, 2, 3)]
    chance = random.Random(7)
    kinds = [
        Fault(503, "unavailable"),
        Fault(429, "Too Many Requests"),
        Fault(400, "User memory limit exceeded."),
        Fault(truncated=True),
        Fault(damaged=True),
        Fault(delay_s=0.05),
    ]

    def fault() -> Fault | None:
        if chance.random() < 0.01:
            return Fault(429, "Too Many Requests", {"Retry-After": f"{later_s:.0f}"})
        return chance.choice(kinds) if chance.random() < 0.3 else Fault(delay_s=0.01)

    limited = EarthEngineSource(open_client(standin, tmp_path, in_flight=3), timeout_s=timeout_s)
    expected = limited.fetch(query(whole))
    standin.asked, standin.fault = [], fault

    def fetch(region: tuple[int, int]) -> tuple[Sample | GeoBentoError, float]:
        row, column = region
        begun = time.monotonic()
        answer = _sample_or_error(limited, query(shifted(GRID, column, row, 40, 40)))
        return answer, time.monotonic() - begun

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(fetch, regions))
    assert standin.most_in_flight == 3
    assert max(lasted for _, lasted in answers) < timeout_s + 10
    right = 0
    for (row, column), (answer, _) in zip(regions, answers, strict=True):
        # A search cannot be split, and a small grid not for long: these alone may fail.
        if isinstance(answer, GeoBentoError):
            assert isinstance(answer, SourceError | PayloadTooLarge)
            continue
        right += 1
        part = np.s_[..., row : row + 40, column : column + 40]
        np.testing.assert_array_equal(answer.pixels, expected.pixels[part])
        np.testing.assert_array_equal(answer.valid, expected.valid[part])  # type: ignore[index]
    assert right > count / 2
    # Searches are all alike; who asks for pixels is known by them.
    attempts: dict[str, list[Any]] = {}
    for request in standin.calls("computePixels"):
        attempts.setdefault(str(request.body["grid"]), []).append(request)
    waited = [
        following.begun - refused.begun
        for of_one in attempts.values()
        for refused, following in pairwise(of_one)
        if refused.fault.headers
    ]
    assert min(waited, default=later_s) >= later_s
    assert waited or count < 300


# -- beside STAC -------------------------------------------------------------------------------


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
    from_stac = _sample_or_error(
        StacSource(StaticCatalog(write_catalog(world, request.sensor.bands, tmp_path))), request
    )
    from_gee = _sample_or_error(source, request)
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
    west, east = (_around(lon, lat, crs, 400) for crs in ("EPSG:32632", "EPSG:32633"))
    standin.scenes = [scene(10, grid=west, smooth=True), scene(13, grid=east, smooth=True)]
    for method in ("median", "mosaic"):
        request = query(_around(lon, lat, "EPSG:32632", 200), composite=method)
        root = tmp_path / method
        catalog = StaticCatalog(write_catalog(standin.scenes, request.sensor.bands, root))
        from_stac, from_gee = StacSource(catalog).fetch(request), source.fetch(request)
        assert from_gee.valid is not None
        assert from_gee.valid.all()
        assert np.abs(from_gee.pixels - from_stac.pixels).max() <= 1
        assert len(np.unique(from_gee.pixels)) > 100


def _around(lon: float, lat: float, crs: str, size: int) -> PixelGrid:
    """A square of 10 m pixels in a CRS, with a region in its middle."""
    x, y = Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    left, top = round(x / 10) * 10 - 5 * size, round(y / 10) * 10 + 5 * size
    return PixelGrid(crs, (10.0, 0.0, left, 0.0, -10.0, top), size, size)


def _sample_or_error(source: Any, asked: ImageQuery) -> Sample | GeoBentoError:
    try:
        return source.fetch(asked)  # type: ignore[no-any-return]
    except GeoBentoError as error:
        return error
