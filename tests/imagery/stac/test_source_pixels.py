"""Pixels from a catalog on disk: overviews, radar, elevation, estimates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.windows import from_bounds

from geobento import PointBuffer, SensorSpec, TemporalSpec
from geobento.schemas.errors import ModelError, NoImageryError, SourceError
from geobento.schemas.sample import PixelGrid
from imagery import grid
from imagery.demo.items import S2_ASSETS
from imagery.query import ImageQuery
from imagery.stac.catalogs.static import StaticCatalog
from imagery.stac.source import StacSource
from tests.conftest import SHARED
from tests.imagery.catalogs import GRID, CatalogBuilder, constant
from tests.imagery.stac.catalog_scenes import S2, SENSOR, WINDOW, bands, fetch, query, ramp


def add_overview(file: Path) -> None:
    """Give a file an overview at half the resolution, blended as GDAL's COG driver does."""
    with rasterio.open(file, "r+") as raster:
        raster.build_overviews([2], Resampling.cubic)


def coarse() -> PixelGrid:
    """The test's region in pixels of 20 m."""
    a, b, left, d, e, top = GRID.transform
    return PixelGrid(GRID.crs, (2 * a, b, left, d, 2 * e, top), 12, 12)


def test_classes_are_not_read_from_overviews(tmp_path: Path) -> None:
    """A blend of vegetation (4) and cloud (8) is water (6), which is not masked."""
    builder = CatalogBuilder(tmp_path)
    classes = constant(4, "uint8")
    classes[:, 1:12] = 8
    item = builder.add(S2, "2023-06-10T08:00:00Z", {**bands(50), "scl": classes})
    plain = fetch(builder, query(coarse())).valid
    file = tmp_path / "data" / item.id / "scl.tif"
    add_overview(file)
    with rasterio.open(file, overview_level=0) as overview:
        assert not np.isin(overview.read(1), (4, 8)).all()
    np.testing.assert_array_equal(fetch(builder, query(coarse())).valid, plain)


def test_power_is_not_read_from_overviews(tmp_path: Path) -> None:
    """Cubic overviews undershoot beside bright targets; power is never negative, nor a gap."""
    builder = CatalogBuilder(tmp_path)
    power = np.full(GRID.shape, 0.001, np.float32)
    power[8:12, 8:12] = 1
    item = builder.add("sentinel-1-rtc", "2023-06-10T08:00:00Z", {"vv": power}, nodata=None)
    file = tmp_path / "data" / item.id / "vv.tif"
    add_overview(file)
    with rasterio.open(file, overview_level=0) as overview:
        assert overview.read(1).min() < 0
    request = query(coarse(), collection="COPERNICUS/S1_GRD_FLOAT", bands=("VV",))
    sample = fetch(builder, request)
    assert sample.valid is not None
    assert sample.valid.all()
    assert sample.pixels.min() > 0


def test_tiles_of_one_pass_count_once(tmp_path: Path) -> None:
    """Where tiles of a pass overlap, the median sees the pass once; all tiles are named."""
    builder = CatalogBuilder(tmp_path)
    for tile, second in (("36MYB", "00"), ("36MYC", "14")):
        time = f"2023-06-10T08:00:{second}Z"
        builder.add(S2, time, bands(100), platform="s2a", grid__code=tile, item_id=tile)
    builder.add(S2, "2023-06-10T08:05:00Z", bands(300), platform="s2b", grid__code="36MYB")
    sample = fetch(builder)
    assert (sample.pixels[0] == 200).all()
    assert sample.provenance is not None
    assert [scene.id for scene in sample.provenance.scenes] == ["36MYB", "36MYC", "item-3"]


def test_the_preferred_form_of_an_acquisition_is_taken(tmp_path: Path) -> None:
    """Of two forms of one acquisition one counts; a form that stands alone is used too."""
    builder = CatalogBuilder(tmp_path)
    same: dict[str, Any] = {"platform": "s2a", "grid__code": "36MYB"}
    builder.add("sentinel-2-c1-l2a", "2023-06-10T08:00:00Z", bands(9000), **same)
    builder.add(S2, "2023-06-10T08:00:01Z", bands(100), item_id="preferred", **same)
    builder.add("sentinel-2-c1-l2a", "2023-06-15T08:00:00Z", bands(1300), **same)
    sample = fetch(builder)
    assert (sample.pixels[0] == 200).all()
    assert sample.provenance is not None
    assert [scene.id for scene in sample.provenance.scenes] == ["preferred", "item-3"]


def test_scenes_without_the_band_are_left_out(tmp_path: Path) -> None:
    """Radar scenes differ in polarisation: those that have the band answer."""
    builder = CatalogBuilder(tmp_path)
    power = np.full(GRID.shape, 0.2, np.float32)
    radar: dict[str, Any] = {"collection": "COPERNICUS/S1_GRD_FLOAT"}
    builder.add("sentinel-1-rtc", "2023-06-10T08:00:00Z", {"vv": power}, nodata=None)
    builder.add("sentinel-1-rtc", "2023-06-12T08:00:00Z", {"hh": power}, nodata=None)
    assert len(fetch(builder, query(**radar, bands=("VV",))).times) == 1
    with pytest.raises(ModelError, match="no scene with all of VV, HH in this source"):
        fetch(builder, query(**radar, bands=("VV", "HH")))
    with pytest.raises(ModelError, match="no band 'VH' in this source; accepted: VV, HH"):
        fetch(builder, query(**radar, bands=("VV", "VH")))


def test_power_is_positive(tmp_path: Path) -> None:
    """Borders of 0, and -32768 in a file that does not declare it, never enter, nor blends."""
    builder = CatalogBuilder(tmp_path)
    power = np.full(GRID.shape, 0.2, np.float32)
    power[:, :2], power[:, 10:] = 0, -32768
    builder.add("sentinel-1-rtc", "2023-06-10T08:00:00Z", {"vv": power}, nodata=None)
    a, b, left, d, e, top = GRID.transform
    shifted = PixelGrid(GRID.crs, (a, b, left + 4, d, e, top), 12, 12)
    sample = fetch(builder, query(shifted, collection="COPERNICUS/S1_GRD_FLOAT", bands=("VV",)))
    assert sample.valid is not None
    assert (sample.pixels[0][sample.valid] > 0).all()
    assert sample.valid.all(axis=0).tolist() == [False] + [True] * 8 + [False] * 3


@pytest.mark.parametrize(
    ("kind", "nodata"), [("float32", -9999), ("int16", -9999), ("int16", None)]
)
def test_gaps_of_elevation(tmp_path: Path, kind: str, nodata: float | None) -> None:
    """Whatever value a file has for no data, and outside the file: not valid, fill value."""
    builder = CatalogBuilder(tmp_path)
    height = constant(100, kind)
    if nodata is not None:
        height[:, 10:] = nodata
    builder.add("cop-dem-glo-30", "2021-04-22T00:00:00Z", {"data": height}, nodata=nodata)
    a, b, left, d, e, top = GRID.transform
    wider = PixelGrid(GRID.crs, (a, b, left - 20, d, e, top), 20, 20)
    sample = fetch(builder, query(wider, collection="COPERNICUS/DEM/GLO30", bands=("DEM",)))
    last = 20 if nodata is None else 12
    row = [0.0] * 2 + [100.0] * (last - 2) + [0.0] * (20 - last)
    assert sample.valid is not None
    assert sample.pixels[0, 0].tolist() == row
    assert sample.valid[0].tolist() == [value > 0 for value in row]


def test_a_region_across_the_antimeridian(tmp_path: Path) -> None:
    """Scenes on both sides, of different zones, make one image."""
    builder = CatalogBuilder(tmp_path)
    for longitude, value in ((179.985, 10), (-179.985, 20)):
        side = grid.for_region(PointBuffer(longitude, 0.5, 1700), 10, 10)
        pixels = np.full(side.shape, value, np.uint16)
        both = {"red": pixels, "nir": pixels}
        builder.add(S2, "2023-06-10T08:00:00Z", both, grid=side, platform="s2a", grid__code=value)
    region = grid.for_region(PointBuffer(180, 0.5, 500), 10, 10)
    sample = fetch(builder, query(region))
    assert sample.valid is not None
    assert sample.valid.all()
    assert set(np.unique(sample.pixels[0]).tolist()) == {10.0, 20.0}


def test_the_file_that_was_checked_is_the_file_that_is_opened(tmp_path: Path) -> None:
    """A reference in another spelling leads to no second file."""
    builder = CatalogBuilder(tmp_path)
    item = builder.add(S2, "2023-06-10T08:00:00Z", bands(7))
    catalog = builder.save()
    opened = StaticCatalog(catalog)
    source = StacSource(opened, name="given")
    red = opened.items[0].assets["red"]
    file = tmp_path / "data" / item.id / "red.tif"
    red.href = file.as_uri().replace("red.tif", "%72ed.tif")
    decoy = file.with_name("%72ed.tif")
    decoy.write_text("<VRTDataset/>")
    sample = source.fetch(query())
    assert (sample.pixels[0] == 7).all()
    assert sample.provenance is not None
    assert sample.provenance.source == "given"
    red.href = str(tmp_path.parent / "elsewhere.tif")
    with pytest.raises(SourceError, match="outside"):
        source.fetch(query())


@pytest.mark.parametrize("across", [1, 4, 6, 9])
@pytest.mark.parametrize("down", [1, 4, 6, 9])
def test_any_shift_gives_the_nearest(tmp_path: Path, across: int, down: int) -> None:
    """Below half a pixel the one pixel, above it the next, in both directions."""
    builder = CatalogBuilder(tmp_path)
    builder.add(S2, "2023-06-10T08:00:00Z", bands(ramp()))
    a, b, left, d, e, top = GRID.transform
    inner = PixelGrid(GRID.crs, (a, b, left + 20 + across, d, e, top - 30 - down), 12, 12)
    row, column = 3 + (down > 5), 2 + (across > 5)
    sample = fetch(builder, query(inner))
    np.testing.assert_array_equal(sample.pixels[0], ramp()[row : row + 12, column : column + 12])


def test_a_survey_reads_no_file(tmp_path: Path) -> None:
    """It names the scenes of a fetch and counts their files, which need not even be there."""
    builder = CatalogBuilder(tmp_path)
    builder.add(S2, "2023-06-20T08:00:00Z", {**bands(1), "scl": constant(4, "uint8")})
    builder.add(S2, "2023-06-10T08:00:00Z", bands(2), item_id="first", eo__cloud_cover=12)
    builder.add(S2, "2023-06-15T08:00:00Z", bands(3), eo__cloud_cover=99)
    source = StacSource(StaticCatalog(builder.save()))
    fetched = source.fetch(query()).provenance
    rmtree(tmp_path / "data")
    survey = source.estimate(query())
    assert survey.provenance == fetched
    assert survey.provenance.scenes[0].id == "first"
    assert (survey.requests, survey.bytes) == (5, 5 * 24 * 24 * 4)


def test_a_survey_fails_as_a_fetch_does(tmp_path: Path) -> None:
    """No scene, a band that is not there, a collection of another source."""
    builder = CatalogBuilder(tmp_path)
    builder.add(S2, "2023-05-10T08:00:00Z", bands(1))
    source = StacSource(StaticCatalog(builder.save()))
    with pytest.raises(NoImageryError, match="of this region it has 1 scenes"):
        source.estimate(query())
    may = replace(query(), start=TemporalSpec.year(2023).window[0])
    with pytest.raises(ModelError, match="no band 'B1'"):
        source.estimate(replace(may, sensor=replace(SENSOR, bands=("B1",))))
    with pytest.raises(ModelError, match="Earth Engine has it"):
        source.estimate(query(collection="MODIS/061/MOD09GA"))


def test_radar_and_elevation(demo_archive: Path) -> None:
    """Linear power on a grid of its own, and elevation whatever the window."""
    source = StacSource(StaticCatalog(demo_archive), backend="demo", notice="invented")
    region = PointBuffer(34.066, -3.401, 500)
    radar = ImageQuery(
        SensorSpec("COPERNICUS/S1_GRD_FLOAT", ("VV", "VH")),
        grid.for_region(region, 10),
        *WINDOW,
        "s1",
    )
    sample = source.fetch(radar)
    assert sample.pixels.shape == (2, 100, 100)
    assert 0 < sample.pixels[1].mean() < sample.pixels[0].mean() < 1
    long_ago = TemporalSpec.year(1999).window
    dem = ImageQuery(
        SensorSpec("COPERNICUS/DEM/GLO30", ("DEM",)), grid.for_region(region, 30), *long_ago, "dem"
    )
    elevation = source.fetch(dem)
    assert 1100 < elevation.pixels.mean() < 1300
    assert elevation.provenance is not None
    assert (elevation.provenance.backend, elevation.provenance.notice) == ("demo", "invented")


@pytest.mark.skipif(not (SHARED / "archive").is_dir(), reason="no archive of real imagery")
def test_real_pixels_equal_a_plain_read() -> None:
    """All twelve bands of a real region are what rasterio reads from the same window."""
    request = replace(
        query(grid.for_region(PointBuffer(34.066, -3.401, 1000), 10, 10)),
        sensor=replace(SENSOR, bands=tuple(S2_ASSETS)),
    )
    sample = StacSource(StaticCatalog(SHARED / "archive" / "catalog.json")).fetch(request)
    folder = next((SHARED / "archive" / "data" / "sentinel-2-l2a").glob("38D*"))
    for name, ours in zip(S2_ASSETS.values(), sample.pixels, strict=True):
        with rasterio.open(folder / f"{name}.tif") as file:
            window = from_bounds(*request.grid.bounds, transform=file.transform)
            np.testing.assert_array_equal(ours, file.read(1, window=window))


def test_radar_by_direction_and_mode(tmp_path: Path) -> None:
    """Only the pass direction that is asked for, and wide swaths before other modes."""
    builder = CatalogBuilder(tmp_path)
    for day, mode, direction in (
        (10, "IW", "ascending"),
        (11, "SM", "ascending"),
        (12, "SM", "descending"),
    ):
        builder.add(
            "sentinel-1-rtc",
            f"2023-06-{day}T08:00:00Z",
            {"vv": np.full(GRID.shape, day, np.float32)},
            nodata=None,
            sar__instrument_mode=mode,
            sat__orbit_state=direction,
        )

    def days(**sensor: Any) -> list[int]:
        request = query(collection="COPERNICUS/S1_GRD_FLOAT", bands=("VV",), **sensor)
        return [time.day for time in fetch(builder, request).times]

    assert days() == [10]
    assert days(s1_require_iw=False) == [10, 11, 12]
    assert days(orbit="ASCENDING", s1_require_iw=False) == [10, 11]
    assert days(orbit="DESCENDING") == [12]
    with pytest.raises(NoImageryError):
        days(orbit="DESCENDING", s1_relax_iw_on_empty=False)


@pytest.mark.parametrize(
    "properties",
    [
        {"proj__code": None},
        {"proj__code": None, "proj__epsg": None, "proj__wkt2": None, "proj__shape": [3, 5]},
        {"proj__code": None, "proj__shape": None, "proj__transform": None},
        {"proj__shape": None, "proj__transform": None},
    ],
    ids=str,
)
def test_projection_fields_may_be_incomplete(tmp_path: Path, properties: dict[str, Any]) -> None:
    """What the item does not say, the file does; a shape without a CRS is not used."""
    builder = CatalogBuilder(tmp_path)
    numbers = ramp()
    builder.add(S2, "2023-06-10T08:00:00Z", bands(numbers), **properties)
    np.testing.assert_array_equal(fetch(builder).pixels[0], numbers)
