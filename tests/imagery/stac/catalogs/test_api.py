"""Imagery from a STAC API over HTTP, through the real client, with files read in ranges."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geobento import PointBuffer
from geobento.schemas.errors import (
    ModelError,
    NoImageryError,
    SourceError,
)
from imagery import grid
from imagery.stac.catalogs import api
from tests.imagery.catalogs import GRID, CatalogBuilder, constant
from tests.imagery.queries import bands_of, query, scene
from tests.imagery.stac.catalogs.api_scenes import names, opened, served
from tests.imagery.stac_server import StacServer
from tests.imagery.world import write_catalog


def test_one_scene_as_it_is(stac: StacServer, tmp_path: Path) -> None:
    """Values, band order, rows from the north, provenance; files are read in ranges."""
    source = served(stac, tmp_path, scene(10, cloud_pct=3.5))
    sample = source.fetch(query(bands=("B8", "B4")))
    np.testing.assert_array_equal(sample.pixels, bands_of(scene(10))[::-1])
    assert sample.grid == GRID
    assert sample.times == (datetime(2023, 6, 10, 8, tzinfo=UTC),)
    assert sample.provenance is not None
    assert (sample.provenance.backend, sample.provenance.source) == ("stac", "stand-in")
    assert [used.cloud_pct for used in sample.provenance.scenes] == [3.5]
    reads = [request for request in stac.requests("files") if request["method"] == "GET"]
    assert {request["path"].rsplit("/", 1)[1] for request in reads} == {
        "red.tif",
        "nir.tif",
        "scl.tif",
    }
    assert all("range" in request["headers"] for request in reads)


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_all_pages_are_read(stac: StacServer, tmp_path: Path, method: str) -> None:
    """More scenes than a page has, by either way to ask."""
    stac.reset(method=method)
    world = [scene(day) for day in range(1, 9)]
    source = served(stac, tmp_path, *world)
    sample = source.fetch(query())
    expected = np.median([bands_of(each) for each in world], axis=0)
    np.testing.assert_array_equal(sample.pixels, expected)
    assert [request["method"] for request in stac.requests("search")] == [method] * 3


def test_the_window_is_half_open(stac: StacServer, tmp_path: Path) -> None:
    """A scene at the start is in, one at the end is out, though windows of APIs are closed."""
    times = ["05-31T23:59:59.999", "06-01T00:00:00", "06-30T23:59:59.999", "07-01T00:00:00"]
    world = [replace(scene(day), time=f"2023-{text}Z") for day, text in enumerate(times, start=1)]
    assert names(served(stac, tmp_path, *world).fetch(query())) == ["scene-02", "scene-03"]


@pytest.mark.parametrize("extension", ["filter", "query", None])
def test_too_cloudy_scenes_are_left_out(
    stac: StacServer, tmp_path: Path, extension: str | None
) -> None:
    """By whatever extension the API has, and by none; at the limit is in."""
    classes = ["core", "item-search", *([f"item-search#{extension}"] if extension else [])]
    stac.reset(conforms=classes)
    world = [scene(1, cloud_pct=30.0), scene(2, cloud_pct=30.1), scene(3, cloud_pct=None)]
    source = served(stac, tmp_path, *world)
    # With `query` the server cannot be asked for scenes that do not state clouds.
    expected = ["scene-01"] if extension == "query" else ["scene-01", "scene-03"]
    assert names(source.fetch(query())) == expected
    (request,) = stac.requests("search")
    assert [name for name in ("filter", "query") if name in request["body"]] == (
        [extension] if extension else []
    )
    assert len(names(source.fetch(query(cloudy_pct=None)))) == 3


def test_offsets_come_from_the_items(stac: StacServer, tmp_path: Path) -> None:
    """Whether the offset is in the pixels is what an item says, not its date."""
    builder = CatalogBuilder(tmp_path)
    for day, value, stated in (
        (1, 1500, {"s2__processing_baseline": "05.09"}),
        (2, 500, {"s2__processing_baseline": "05.09", "earthsearch__boa_offset_applied": True}),
        (3, 500, {"s2__processing_baseline": "03.01"}),
    ):
        both = {"red": constant(value), "nir": constant(value)}
        builder.add("sentinel-2-l2a", f"2023-06-0{day}T08:00:00Z", both, **stated)
    builder.save()
    source = opened(stac, tmp_path)
    for method in ("median", "mosaic"):
        sample = source.fetch(query(composite=method))
        assert (sample.pixels == 500).all()
    assert sample.provenance is not None
    reported = [(used.processing, used.offset_applied) for used in sample.provenance.scenes]
    assert reported == [("05.09", True), ("05.09", True), ("03.01", False)]


def test_a_region_across_the_antimeridian(stac: StacServer, tmp_path: Path) -> None:
    """Both sides are searched, since not all servers know boxes that cross it."""
    builder = CatalogBuilder(tmp_path)
    for longitude, value in ((179.985, 10), (-179.985, 20)):
        side = grid.for_region(PointBuffer(longitude, 0.5, 1700), 10, 10)
        both = dict.fromkeys(("red", "nir"), np.full(side.shape, value, np.uint16))
        tile: dict[str, Any] = {"platform": "s2a", "grid__code": value}
        builder.add("sentinel-2-l2a", "2023-06-10T08:00:00Z", both, grid=side, **tile)
    builder.save()
    region = grid.for_region(PointBuffer(180, 0.5, 500), 10, 10)
    sample = opened(stac, tmp_path).fetch(query(region))
    assert set(np.unique(sample.pixels[0]).tolist()) == {10.0, 20.0}


def test_nothing_says_what_there_is(stac: StacServer, tmp_path: Path) -> None:
    """Too cloudy, none in the window, none at all: 422, with what is nearest."""
    before = replace(scene(2), index="before", time="2023-05-20T08:00:00Z")
    after = replace(scene(3), index="after", time="2023-07-05T08:00:00Z")
    far = replace(scene(4), index="far", time="2020-07-05T08:00:00Z")
    source = served(stac, tmp_path, before, after, far, scene(1, cloud_pct=80.0))
    with pytest.raises(NoImageryError, match=r"in the window 1 with 80 % cloud") as caught:
        source.fetch(query())
    assert (caught.value.detail["scenes_in_window"], caught.value.detail["min_cloud_pct"]) == (
        1, 80,
    )  # fmt: skip
    assert caught.value.detail["nearest"].startswith("2023-07-05")
    assert caught.value.detail["scenes_at_any_time"] is None
    may = replace(
        query(), start=datetime(2023, 5, 21, tzinfo=UTC), end=datetime(2023, 5, 25, tzinfo=UTC)
    )
    with pytest.raises(NoImageryError, match=r"nearest scene is of 2023-05-20$"):
        source.fetch(may)
    elsewhere = grid.for_region(PointBuffer(0, 0, 100), 10, 10)
    with pytest.raises(NoImageryError, match=r"it has none$"):
        source.fetch(query(elsewhere))


def test_searches_are_cached_briefly(stac: StacServer, tmp_path: Path) -> None:
    """A plan and the fetch after it make one search; other searches are made anew."""
    source = served(stac, tmp_path, scene(10), scene(20))
    survey = source.estimate(query())
    assert survey.provenance == source.fetch(query()).provenance
    assert len(stac.requests("search")) == 1
    source.fetch(replace(query(), end=datetime(2023, 6, 15, tzinfo=UTC)))
    assert len(stac.requests("search")) == 2


def test_a_collection_that_it_lacks(stac: StacServer, tmp_path: Path) -> None:
    """The error names the sources that have it, and nothing is searched."""
    source = served(stac, tmp_path, scene(1))
    request = query(collection="LANDSAT/LC08/C02/T1_L2", bands=("SR_B4",))
    with pytest.raises(ModelError, match=r"'stand-in'; Earth Engine .* 'planetary-computer'"):
        source.fetch(request)
    assert stac.requests("search") == []


def test_a_mask_that_it_lacks(stac: StacServer, tmp_path: Path) -> None:
    """The error names the sources of Cloud Score+, and nothing is searched."""
    source = served(stac, tmp_path, scene(1))
    with pytest.raises(ModelError, match="Earth Engine has it") as caught:
        source.fetch(query(cloud_mask="cloud_score_plus"))
    assert caught.value.field == "sensor.cloud_mask"
    with pytest.raises(ModelError, match="Earth Engine has it"):
        source.estimate(query(cloud_mask="cloud_score_plus"))
    assert stac.requests("search") == []


def test_too_many_scenes(stac: StacServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of items is bounded; the error says what to do."""
    monkeypatch.setattr(api, "MAX_ITEMS", 4)
    source = served(stac, tmp_path, *(scene(day) for day in range(1, 6)))
    with pytest.raises(SourceError, match=r"more than 4 scenes .* shorter window"):
        source.fetch(query())


@pytest.mark.parametrize(
    ("collection", "bands"),
    [
        ("LANDSAT/LC08/C02/T1_L2", ("SR_B4", "ST_B10")),
        ("NASA/HLS/HLSS30/v002", ("B4", "B8A")),
        ("NASA/HLS/HLSL30/v002", ("B10", "B1")),
    ],
)
def test_quality_bits_and_scales(
    stac: StacServer, tmp_path: Path, collection: str, bands: tuple[str, ...]
) -> None:
    """Flagged pixels are left out, gaps too; values are in the units of Earth Engine."""
    world = scene(1, collection=collection, holes=True, cloud_pct=12.0)
    write_catalog([world], bands, tmp_path)
    request = query(collection=collection, bands=bands, scale_m=30, fill_value=-5)
    sample = opened(stac, tmp_path).fetch(request)
    flagged = world.band("QA_PIXEL") == 1 << 3
    shown = world.has_data() & ~flagged
    np.testing.assert_array_equal(sample.valid, shown)
    for pixels, band in zip(sample.pixels, bands, strict=True):
        np.testing.assert_allclose(pixels[shown], world.band(band)[shown], rtol=1e-6)
        assert (pixels[~shown] == -5).all()


@pytest.mark.parametrize("conforms", [["filter"], ["query"], []])
def test_landsat_8_is_not_landsat_9(stac: StacServer, tmp_path: Path, conforms: list[str]) -> None:
    """Catalogs have all Landsats and tiers in one collection; one platform, tier 1, is taken."""
    stac.reset(conforms=["core", "item-search", *(f"item-search#{name}" for name in conforms)])
    builder = CatalogBuilder(tmp_path)
    for day, (platform, tier) in enumerate(
        [("landsat-8", "T1"), ("landsat-9", "T1"), ("landsat-8", "T2")], start=1
    ):
        builder.add(
            "landsat-c2-l2",
            f"2023-06-0{day}T08:00:00Z",
            {"red": constant(day)},
            platform=platform,
            landsat__collection_category=tier,
            eo__cloud_cover=1,
        )
    builder.save()
    source = opened(stac, tmp_path)
    for number, value in ((8, 1), (9, 2)):
        request = query(collection=f"LANDSAT/LC0{number}/C02/T1_L2", bands=("SR_B4",))
        assert (source.fetch(request).pixels == value).all()


@pytest.mark.parametrize("described", ["raster:bands", "eo:bands", "nothing"])
def test_bands_in_one_file(stac: StacServer, tmp_path: Path, described: str) -> None:
    """NAIP's four bands are one asset, whichever extension an item uses for them."""
    builder = CatalogBuilder(tmp_path)
    image = np.stack([constant(value, "uint8") for value in (10, 20, 30, 40)])
    item = builder.add("naip", "2023-06-01T16:00:00Z", {"image": image}, nodata=None)
    names = [{"name": name} for name in ("Red", "Green", "Blue", "NIR")]
    item.assets["image"].extra_fields = {described: names}
    builder.save()
    request = query(collection="USDA/NAIP/DOQQ", bands=("N", "R"))
    sample = opened(stac, tmp_path).fetch(request)
    assert sample.pixels[:, 0, 0].tolist() == [40, 10]
