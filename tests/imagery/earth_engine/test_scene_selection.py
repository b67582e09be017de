"""Scenes that Earth Engine's source takes: window, clouds, quality bands, radar modes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from geobento.schemas.errors import (
    ModelError,
    NoImageryError,
)
from geobento.schemas.sample import PixelGrid
from imagery.collections.sentinel2 import CLOUD_SCORE_PLUS
from imagery.earth_engine.source import EarthEngineSource
from tests.imagery.catalogs import GRID
from tests.imagery.earth_engine.scenes import names
from tests.imagery.ee_server import Standin
from tests.imagery.queries import SENSOR, WINDOW, bands_of, query, scene
from tests.imagery.world import S2, WorldScene, shifted

S1 = "COPERNICUS/S1_GRD_FLOAT"


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
    assert standin.requests == []
