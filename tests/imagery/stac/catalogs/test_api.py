"""Imagery from a STAC API over HTTP, through the real client, with files read in ranges."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import rasterio

from geobento import PointBuffer, SensorSpec, TemporalSpec
from geobento.schemas.errors import (
    ModelError,
    NoImageryError,
    QuotaError,
    SourceError,
    SourceUnavailable,
)
from geobento.schemas.sample import PixelGrid, Sample
from imagery import grid
from imagery.query import ImageQuery
from imagery.stac.catalogs import api
from imagery.stac.catalogs.factory import open_catalog
from imagery.stac.geotiff import MAX_REMOTE_READS
from imagery.stac.source import StacSource
from tests.imagery.catalogs import GRID, CatalogBuilder, constant
from tests.imagery.stac_server import Fault, StacServer
from tests.imagery.world import S2, WorldScene, write_catalog

SENSOR = SensorSpec(S2, ("B4", "B8"))
WINDOW = TemporalSpec.range("2023-06-01", "2023-07-01").window


def query(pixel_grid: PixelGrid = GRID, **sensor: Any) -> ImageQuery:
    """June at the test's region."""
    return ImageQuery(replace(SENSOR, **sensor), pixel_grid, *WINDOW, "s2")


def scene(day: int, **given: Any) -> WorldScene:
    """A scene of a day in June with its own numbers."""
    return WorldScene(f"scene-{day:02}", f"2023-06-{day:02}T08:00:00Z", seed=day, **given)


def bands_of(world_scene: WorldScene) -> Any:
    """Both bands, (C, H, W)."""
    return np.stack([world_scene.band(band) for band in SENSOR.bands])


def served(stac: StacServer, folder: Path, *scenes: WorldScene) -> StacSource:
    """A source over the API that has these scenes."""
    write_catalog(list(scenes), SENSOR.bands, folder)
    return opened(stac, folder)


def opened(stac: StacServer, folder: Path, timeout_s: float = 20) -> StacSource:
    """A source over the API of a folder."""
    catalog = open_catalog(stac.api(folder), timeout_s=timeout_s)
    return StacSource(catalog, timeout_s=timeout_s)


def names(sample: Sample) -> list[str]:
    """The scenes that an answer names."""
    assert sample.provenance is not None
    return [used.id for used in sample.provenance.scenes]


# -- what is found -----------------------------------------------------------------------------


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
    reads = [request for request in stac.asked("files") if request["method"] == "GET"]
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
    assert [request["method"] for request in stac.asked("search")] == [method] * 3


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
    (request,) = stac.asked("search")
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


def test_a_search_is_not_asked_twice_in_a_row(stac: StacServer, tmp_path: Path) -> None:
    """Who looks at a plan and then fetches asks the catalog once; other searches are others."""
    source = served(stac, tmp_path, scene(10), scene(20))
    survey = source.estimate(query())
    assert survey.provenance == source.fetch(query()).provenance
    assert len(stac.asked("search")) == 1
    source.fetch(replace(query(), end=datetime(2023, 6, 15, tzinfo=UTC)))
    assert len(stac.asked("search")) == 2


def test_a_collection_that_it_lacks(stac: StacServer, tmp_path: Path) -> None:
    """The error says who has it, and nothing is asked."""
    source = served(stac, tmp_path, scene(1))
    request = query(collection="LANDSAT/LC08/C02/T1_L2", bands=("SR_B4",))
    with pytest.raises(ModelError, match=r"'stand-in'; Earth Engine .* 'planetary-computer'"):
        source.fetch(request)
    assert stac.asked("search") == []


def test_a_mask_that_it_lacks(stac: StacServer, tmp_path: Path) -> None:
    """The error says who has Cloud Score+, and nothing is asked."""
    source = served(stac, tmp_path, scene(1))
    with pytest.raises(ModelError, match="Earth Engine has it") as caught:
        source.fetch(query(cloud_mask="cloud_score_plus"))
    assert caught.value.field == "sensor.cloud_mask"
    with pytest.raises(ModelError, match="Earth Engine has it"):
        source.estimate(query(cloud_mask="cloud_score_plus"))
    assert stac.asked("search") == []


def test_too_many_scenes(stac: StacServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of items is bounded; the error says what to do."""
    monkeypatch.setattr(api, "MAX_ITEMS", 4)
    source = served(stac, tmp_path, *(scene(day) for day in range(1, 6)))
    with pytest.raises(SourceError, match=r"more than 4 scenes .* shorter window"):
        source.fetch(query())


# -- other products ----------------------------------------------------------------------------


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


# -- what goes wrong ---------------------------------------------------------------------------


def test_what_may_pass_is_tried_again(stac: StacServer, tmp_path: Path, waits: list[float]) -> None:
    """Busy, out of order, cut off, damaged; a wait that is asked for is waited for."""
    source = served(stac, tmp_path, scene(10))
    faults = [
        Fault(status=429, headers={"retry-after": "7"}),
        Fault(status=503),
        Fault(truncated=True),
        Fault(body='{"type": "Feat'),
    ]
    stac.reset(faults={"search": faults})
    np.testing.assert_array_equal(source.fetch(query()).pixels, bands_of(scene(10)))
    assert len(waits) == 4
    assert waits[0] >= 7
    assert len(stac.asked("search")) == 5


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (Fault(status=429, headers={"retry-after": "3"}), QuotaError, "429"),
        (Fault(status=503), SourceUnavailable, "503"),
        (Fault(truncated=True), SourceError, "ended early"),
        (Fault(body="<html>"), SourceError, "not JSON"),
        (Fault(body="[]"), SourceError, "not a JSON object"),
        (
            Fault(body='{"features": [{"id": 3}]}'),
            SourceError,
            "not answer a search with items",
        ),
        (Fault(body='{"features": 3}'), SourceError, "not answer a search with items"),
        (Fault(status=403), SourceError, "denies access"),
        (Fault(status=307, headers={"location": "http://127.0.0.1:9/"}), SourceError, "redirects"),
        (Fault(status=400), SourceError, "400"),
    ],
)
def test_what_does_not_pass_is_named(
    stac: StacServer,
    tmp_path: Path,
    waits: list[float],
    fault: Fault,
    error: type[SourceError],
    says: str,
) -> None:
    """Errors name the host or the source, and neither path nor query."""
    source = served(stac, tmp_path, scene(10))
    stac.reset(faults={"search": [fault] * 30})
    with pytest.raises(SourceError, match=says) as caught:
        source.fetch(query())
    assert type(caught.value) is error
    assert any(name in caught.value.message for name in (stac.url.split("//")[1], "stand-in"))
    assert "/search" not in caught.value.message
    if error is QuotaError:
        assert caught.value.retry_after == 3


@pytest.mark.parametrize("kind", ["search", "files"])
def test_no_answer_in_time(stac: StacServer, tmp_path: Path, quick: None, kind: str) -> None:
    """A slow catalog and slow files end at the deadline; the error says so."""
    write_catalog([scene(10)], SENSOR.bands, tmp_path)
    source = opened(stac, tmp_path, timeout_s=1)
    stac.reset(faults={kind: [Fault(delay_s=2.5)] * 40})
    with pytest.raises(SourceUnavailable, match="before the timeout"):
        source.fetch(query())


def test_a_catalog_that_is_not_there() -> None:
    """Nobody listens: 503, named by host, and no word of the rest of the address."""
    with pytest.raises(SourceUnavailable, match=r"^127\.0\.0\.1:9 cannot be reached$") as caught:
        open_catalog("http://127.0.0.1:9/stac?key=secret", timeout_s=1)
    assert caught.value.status == 503


def test_files_are_tried_again(
    stac: StacServer, tmp_path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that fails for a moment is read; one that fails for longer, by the next request."""
    source = served(stac, tmp_path, scene(10))
    stac.reset(faults={"files": [Fault(status=503), Fault(status=503)]})
    np.testing.assert_array_equal(source.fetch(query()).pixels, bands_of(scene(10)))
    other = served(stac, tmp_path / "other", scene(11))
    stac.reset(faults={"files": [Fault(status=503)] * 200})
    with pytest.raises(SourceError, match="reading from the source 'stand-in' failed"):
        other.fetch(query())
    stac.reset()
    np.testing.assert_array_equal(other.fetch(query()).pixels, bands_of(scene(11)))


def test_damaged_files(stac: StacServer, tmp_path: Path, quick: None) -> None:
    """Missing, cut off, or another format that could point to any file: 502."""
    source = served(stac, tmp_path, scene(10))
    file = next(tmp_path.rglob("red.tif"))
    whole = file.read_bytes()
    secret = tmp_path / "secret.tif"
    secret.write_bytes(whole)
    virtual = tmp_path / "plain.vrt"
    with rasterio.open(secret) as dataset:
        height, width = dataset.shape
        virtual.write_text(
            f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{dataset.crs}</SRS>'
            f"<GeoTransform>{','.join(map(str, dataset.transform.to_gdal()))}</GeoTransform>"
            '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
            f"<SourceFilename>{secret}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
        )
    with rasterio.open(virtual) as dataset:
        assert dataset.read(1).any()  # so it would do harm
    for content in (None, whole[:200], virtual.read_bytes(), b"no raster"):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SourceError, match="reading from the source 'stand-in' failed"):
            source.fetch(query())
    file.write_bytes(whole)
    np.testing.assert_array_equal(source.fetch(query()).pixels, bands_of(scene(10)))


@pytest.mark.parametrize(
    ("href", "says"),
    [
        ("http://127.0.0.1:9/red.tif", r"host 127\.0\.0\.1:9, .* GEOBENTO_STAC_HOSTS"),
        ("s3://bucket/red.tif", "S3 bucket 'bucket'"),
        ("file:///etc/red.tif", "not an http"),
        ("/vsicurl/http://127.0.0.1:9/red.tif", "not an http"),
        ("http://a@b:80/red.tif", "not an http"),
        ("http://b\\@a/red.tif", "host b, which"),
        ("{url}/files/red.jp2", "red.jp2 is not a TIFF"),
    ],
)
def test_items_lead_to_no_other_place(
    stac: StacServer, tmp_path: Path, href: str, says: str
) -> None:
    """Files are read from the catalog's own hosts alone, and only TIFFs."""
    catalog = write_catalog([scene(10)], SENSOR.bands, tmp_path)
    file = next(tmp_path.rglob("scene-10.json"))
    nested = file.read_text().replace(
        next(part for part in file.read_text().split('"') if part.endswith("red.tif")),
        href.format(url=stac.url).replace("\\", "\\\\"),
    )
    file.write_text(nested)
    assert catalog.exists()
    with pytest.raises(SourceError, match=says):
        opened(stac, tmp_path).fetch(query())
    assert stac.asked("files") == []


def test_further_hosts(stac: StacServer, tmp_path: Path) -> None:
    """Hosts that the deployer names are read from too."""
    write_catalog([scene(10)], SENSOR.bands, tmp_path)
    other = stac.url.replace("127.0.0.1", "localhost")
    for file in tmp_path.rglob("scene-10.json"):
        for name in ("red", "nir", "scl"):
            text = file.read_text()
            stated = next(part for part in text.split('"') if part.endswith(f"{name}.tif"))
            data = next(tmp_path.rglob(f"{name}.tif"))
            address = stac.file(data).replace(stac.url, other)
            file.write_text(text.replace(stated, address))
    with pytest.raises(SourceError, match="localhost"):
        opened(stac, tmp_path).fetch(query())
    catalog = open_catalog(stac.api(tmp_path), extra_hosts=[other.split("//")[1]], timeout_s=20)
    np.testing.assert_array_equal(StacSource(catalog).fetch(query()).pixels, bands_of(scene(10)))


def test_pages_lead_to_no_other_host(stac: StacServer, tmp_path: Path) -> None:
    """A link to the next page is followed at the catalog's own host alone."""
    source = served(stac, tmp_path, scene(10))
    link = '{"rel": "next", "href": "http://127.0.0.1:9/search"}'
    feature = next(tmp_path.rglob("scene-10.json")).read_text()
    body = f'{{"type": "FeatureCollection", "features": [{feature}], "links": [{link}]}}'
    stac.reset(faults={"search": [Fault(body=body)]})
    with pytest.raises(SourceError, match=r"host 127\.0\.0\.1:9"):
        source.fetch(query())


def test_files_redirect_to_no_file_of_this_machine(
    stac: StacServer, tmp_path: Path, quick: None
) -> None:
    """A server cannot make the service read its own files."""
    source = served(stac, tmp_path, scene(10))
    own = next(tmp_path.rglob("red.tif")).as_uri()
    stac.reset(faults={"files": [Fault(status=302, headers={"location": own})] * 40})
    with pytest.raises(SourceError, match="reading from the source 'stand-in' failed"):
        source.fetch(query())


@pytest.mark.slow
def test_many_requests_with_faults(stac: StacServer, tmp_path: Path, quick: None) -> None:
    """Almost a third of all answers go wrong in 300 requests: every sample is right, all else a
    named error; files are read so many at a time, who is told when to come back does not come
    before, and nothing lasts past its deadline.
    """
    timeout_s, later_s, count = 30.0, 1.0, 300
    world = [scene(day, cloudy=True, holes=True) for day in (1, 2)]
    expected = served(stac, tmp_path / "first", *world).fetch(query())
    # Under other names, so that nothing is at hand.
    copies = [copytree(tmp_path / "first", tmp_path / f"copy-{number}") for number in range(count)]
    sources = [opened(stac, copy, timeout_s) for copy in copies]
    chance = random.Random(1)
    bad: list[Fault | None] = [
        Fault(status=503),
        Fault(status=429, headers={"retry-after": f"{later_s:.0f}"}),
        Fault(truncated=True),
        Fault(body="damaged"),
    ]
    faults = {
        kind: [chance.choice(bad) if chance.random() < 0.3 else None for _ in range(6000)]
        for kind in ("search", "files")
    }
    stac.reset(faults=faults)

    def fetch(source: StacSource) -> tuple[Any, float]:
        begun = time.monotonic()
        try:
            answer: Any = source.fetch(query())
        except SourceError as error:
            answer = error
        return answer, time.monotonic() - begun

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(fetch, sources))
    assert max(lasted for _, lasted in answers) < timeout_s + 10
    right = [answer for answer, _ in answers if isinstance(answer, Sample)]
    for answer in right:
        np.testing.assert_array_equal(answer.pixels, expected.pixels)
        np.testing.assert_array_equal(answer.valid, expected.valid)
    assert len(right) > count / 2
    assert len(stac.asked("files")) > 1000
    assert stac.most_in_flight("files") <= MAX_REMOTE_READS
    attempts: dict[str, list[Any]] = {}
    for request in stac.asked("search"):
        attempts.setdefault(request["path"], []).append(request)
    waited = [
        following["begun"] - refused["begun"]
        for of_one in attempts.values()
        for refused, following in pairwise(of_one)
        if refused["fault"]["headers"]
    ]
    assert min(waited) >= later_s
