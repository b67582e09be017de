"""Imagery from a catalog on disk, read for real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geobento import PointBuffer
from geobento.schemas.errors import ModelError, NoImageryError, SourceError
from geobento.schemas.sample import PixelGrid
from imagery import grid
from imagery.stac.catalogs.static import StaticCatalog
from imagery.stac.source import StacSource
from tests.imagery.catalogs import GRID, CatalogBuilder, constant
from tests.imagery.stac.catalog_scenes import S2, bands, fetch, query, ramp


def test_the_same_lattice_is_read_unchanged(tmp_path: Path) -> None:
    """Values, band order, validity and provenance of a single scene."""
    builder = CatalogBuilder(tmp_path)
    builder.add(S2, "2023-06-10T08:00:00Z", bands(ramp(), 7), item_id="scene", eo__cloud_cover=3)
    sample = fetch(builder)
    assert sample.bands == ("B4", "B8")
    np.testing.assert_array_equal(sample.pixels, [ramp(), constant(7)])
    assert sample.valid is not None
    assert sample.valid.all()
    assert sample.provenance is not None
    assert (sample.provenance.backend, sample.provenance.source) == ("stac", "test-catalog")
    (scene,) = sample.provenance.scenes
    assert (scene.id, scene.cloud_pct) == ("scene", 3.0)
    assert sample.times == (scene.time,)


def test_a_lattice_between_pixels_gives_the_nearest(tmp_path: Path) -> None:
    """Digital numbers are never blended: a shift of 0.3 pixels changes no value."""
    builder = CatalogBuilder(tmp_path)
    builder.add(S2, "2023-06-10T08:00:00Z", bands(ramp()))
    a, b, left, d, e, top = GRID.transform
    inner = PixelGrid(GRID.crs, (a, b, left + 43, d, e, top - 27), 12, 12)
    sample = fetch(builder, query(inner))
    np.testing.assert_array_equal(sample.pixels[0], ramp()[3:15, 4:16])


def test_gaps_hold_the_fill_value(tmp_path: Path) -> None:
    """Outside the scene, and where it has no data, pixels are not valid."""
    builder = CatalogBuilder(tmp_path)
    red = ramp()
    red[5, 5] = 0
    builder.add(S2, "2023-06-10T08:00:00Z", bands(red))
    a, b, left, d, e, top = GRID.transform
    wider = PixelGrid(GRID.crs, (a, b, left - 20, d, e, top), 24, 24)
    sample = fetch(builder, query(wider, fill_value=-9.0))
    assert sample.valid is not None
    assert not sample.valid[:, :2].any()
    assert not sample.valid[5, 7]
    assert sample.valid.sum() == 24 * 22 - 1
    assert (sample.pixels[0][~sample.valid] == -9).all()
    assert sample.pixels[1, 5, 7] == 5


def test_clouds_are_masked_before_the_median(tmp_path: Path) -> None:
    """A cloudy pixel of one scene does not enter the composite."""
    builder = CatalogBuilder(tmp_path)
    classes = constant(4, "uint8")
    classes[0, 0] = 9
    for day, value in enumerate((100, 300, 200), start=1):
        assets = {**bands(value), "scl": classes if value == 300 else constant(4, "uint8")}
        builder.add(S2, f"2023-06-0{day}T08:00:00Z", assets)
    sample = fetch(builder)
    assert sample.pixels[0, 0, 0] == 150
    assert sample.pixels[0, 1, 1] == 200
    assert fetch(builder, query(composite="mosaic")).pixels[0, 0, 0] == 200


def test_the_offset_is_taken_out_scene_by_scene(tmp_path: Path) -> None:
    """Scenes with and without the offset of later baselines meet on one scale; 0 stays 0."""
    builder = CatalogBuilder(tmp_path)
    dark = constant(1500)
    dark[0, 0], dark[0, 1] = 0, 400
    builder.add(S2, "2023-06-10T08:00:00Z", bands(dark), s2__processing_baseline="05.09")
    sample = fetch(builder)
    assert sample.pixels[0, 5, 5] == 500
    assert sample.pixels[0, 0, 1] == 0
    assert sample.valid is not None
    assert sample.valid[0, 1]
    assert not sample.valid[0, 0]
    builder.add(S2, "2023-06-11T08:00:00Z", bands(700), s2__processing_baseline="03.01")
    assert fetch(builder).pixels[0, 5, 5] == 600


def test_other_catalogs_asset_names(tmp_path: Path) -> None:
    """Zero-padded band names are the same bands, also beside scenes with common names."""
    builder = CatalogBuilder(tmp_path)
    builder.add(S2, "2023-06-10T08:00:00Z", {"B04": constant(10), "B08": constant(20)})
    builder.add(S2, "2023-06-11T08:00:00Z", bands(30, 40))
    np.testing.assert_array_equal(fetch(builder).pixels[:, 0, 0], [20, 30])


def test_scenes_that_show_nothing_are_not_named(tmp_path: Path) -> None:
    """A scene whose pixels are all without data took no part."""
    builder = CatalogBuilder(tmp_path)
    builder.add(S2, "2023-06-10T08:00:00Z", bands(0, 0), item_id="empty")
    builder.add(S2, "2023-06-11T08:00:00Z", bands(8), item_id="full")
    provenance = fetch(builder).provenance
    assert provenance is not None
    assert [scene.id for scene in provenance.scenes] == ["full"]


def test_a_composite_for_every_part_of_the_window(tmp_path: Path) -> None:
    """The parts of a window in order; parts without scenes, or without clear ones, are left out."""
    builder = CatalogBuilder(tmp_path)
    cloud = constant(9)
    for day, red, classes in ((2, 10, None), (5, 30, None), (13, 50, cloud), (25, 70, None)):
        scene = bands(red) | ({} if classes is None else {"scl": classes})
        builder.add(S2, f"2023-06-{day:02}T08:00:00Z", scene, item_id=f"scene-{day}")
    sample = fetch(builder, replace(query(), frames=3))
    assert sample.parts == (0, 2)
    assert sample.pixels[:, 0, 0, 0].tolist() == [20, 70]
    assert sample.valid is not None
    assert sample.valid.shape == sample.pixels.shape[:1] + sample.pixels.shape[2:]
    assert [time.isoformat() for time in sample.times] == [
        "2023-06-03T20:00:00+00:00",
        "2023-06-25T08:00:00+00:00",
    ]
    assert sample.provenance is not None
    assert [scene.id for scene in sample.provenance.scenes] == ["scene-2", "scene-5", "scene-25"]


def test_no_imagery_says_what_there_is(tmp_path: Path) -> None:
    """Another window, too cloudy, nothing but gaps: 422 with the dates of what exists."""
    builder = CatalogBuilder(tmp_path)
    builder.add(S2, "2022-03-10T08:00:00Z", bands(8))
    with pytest.raises(NoImageryError, match=r"1 scenes from 2022-03-10") as caught:
        fetch(builder)
    assert caught.value.detail["first"].startswith("2022-03-10")
    assert caught.value.detail["nearest"].startswith("2022-03-10")
    builder.add(S2, "2023-06-10T08:00:00Z", bands(0, 0))
    with pytest.raises(NoImageryError):
        fetch(builder)
    elsewhere = grid.for_region(PointBuffer(0, 0, 100), 10, 10)
    with pytest.raises(NoImageryError, match="none of this region"):
        fetch(builder, query(elsewhere))


def test_a_band_that_is_not_there(tmp_path: Path) -> None:
    """The error lists the bands that are."""
    builder = CatalogBuilder(tmp_path)
    builder.add(S2, "2023-06-10T08:00:00Z", bands(8))
    with pytest.raises(ModelError, match="accepted: B4, B8"):
        fetch(builder, query(bands=("B4", "B12")))


def test_damaged_files_are_the_sources_fault(tmp_path: Path) -> None:
    """Missing, cut off, not a raster: 502 without a path of the server."""
    builder = CatalogBuilder(tmp_path)
    item = builder.add(S2, "2023-06-10T08:00:00Z", bands(ramp()))
    catalog = builder.save()
    file = tmp_path / "data" / item.id / "red.tif"
    whole = file.read_bytes()
    for content in (None, whole[:200], b"not a raster"):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SourceError) as caught:
            StacSource(StaticCatalog(catalog)).fetch(query())
        assert str(tmp_path) not in caught.value.message


def test_the_classification_is_found_under_both_names(tmp_path: Path) -> None:
    """A catalog that writes SCL in capitals is masked too."""
    builder = CatalogBuilder(tmp_path)
    hidden = {"B04": constant(10), "B08": constant(20), "SCL": constant(9, "uint8")}
    builder.add(S2, "2023-06-10T08:00:00Z", hidden)
    with pytest.raises(NoImageryError):
        fetch(builder)
