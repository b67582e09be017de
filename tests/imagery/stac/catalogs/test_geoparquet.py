"""Searching stac-geoparquet, files written for each test."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely import to_wkb
from shapely.geometry import shape

from geobento import SensorSpec, TemporalSpec
from geobento.schemas.errors import NoImageryError, SourceError, SourceUnavailable
from imagery import grid
from imagery.query import ImageQuery
from imagery.stac.catalogs.base import Search
from imagery.stac.catalogs.factory import open_catalog
from imagery.stac.catalogs.geoparquet import ParquetCatalog
from imagery.stac.catalogs.static import StaticCatalog
from imagery.stac.files import LocalFiles
from imagery.stac.source import StacSource
from tests.imagery.catalogs import GRID, CatalogBuilder, constant
from tests.imagery.world import shifted

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

S2 = "sentinel-2-l2a"
LATER = time.monotonic() + 1e6
JUNE = TemporalSpec.range("2023-06-01", "2023-07-01").window
HERE = grid.lonlat_bounds(GRID)
SEARCH = Search((S2,), HERE, *JUNE, cloud_property="eo:cloud_cover", max_cloud_pct=30.0)
EDGES = ("xmin", "ymin", "xmax", "ymax")


def to_row(item: dict[str, Any]) -> dict[str, Any]:
    """An item as a row: properties as columns, geometry as WKB, bounds and times as such."""
    properties = dict(item["properties"])
    times = {
        name: datetime.fromisoformat(properties.pop(name)).astimezone(UTC)
        for name in ("datetime", "start_datetime", "end_datetime")
        if properties.get(name) is not None
    }
    return {
        **{name: item[name] for name in ("type", "stac_version", "id", "assets", "collection")},
        "links": [],
        "geometry": to_wkb(shape(item["geometry"])),
        "bbox": dict(zip(EDGES, item["bbox"], strict=True)),
        **properties,
        **times,
    }


def write(
    builder: CatalogBuilder,
    rows_a_part: int = 2,
) -> Path:
    """The builder's items as one file beside its `catalog.json`."""
    top = builder.save()
    rows = []
    for item in StaticCatalog(top).items:
        row = to_row(item.to_dict(include_self_link=False, transform_hrefs=False))
        for asset in row["assets"].values():
            asset["href"] = str(Path(asset["href"]).relative_to(builder.root))
        rows.append(row)
    columns = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: [row.get(name) for row in rows] for name in columns})
    path = builder.root / "items.parquet"
    pq.write_table(table, path, row_group_size=rows_a_part)
    return path


def june(builder: CatalogBuilder, day: int, **given: Any) -> None:
    """A scene of a day in June, its red the day."""
    time = f"2023-06-{day:02}T08:00:00Z"
    given = {"eo__cloud_cover": 5.0, **given}
    builder.add(S2, time, {"red": constant(day)}, item_id=f"day-{day:02}", **given)


def ids(path: Path, search: Search = SEARCH) -> list[str]:
    """What a search finds."""
    return [item.id for item in open_catalog(str(path), timeout_s=5).search(search, LATER)]


def test_the_same_items_as_from_a_catalog_of_json(tmp_path: Path) -> None:
    """Rows become the items that they were made from, and pixels are equal."""
    builder = CatalogBuilder(tmp_path)
    for day in (3, 5, 8):
        june(builder, day, platform="sentinel-2a", gsd=10)
    june(builder, 12, constellation="x")
    path = write(builder)
    opened, json_catalog = (
        open_catalog(str(path), timeout_s=5),
        StaticCatalog(tmp_path / "catalog.json"),
    )
    both = [catalog.search(SEARCH, LATER) for catalog in (opened, json_catalog)]
    result, expected = (
        [item.to_dict(include_self_link=False, transform_hrefs=False) for item in items]
        for items in both
    )
    for item in (*result, *expected):
        item["geometry"] = json.loads(json.dumps(item["geometry"]))  # lists and tuples
        item["properties"]["datetime"] = datetime.fromisoformat(item["properties"]["datetime"])
    assert result == expected
    sensor = SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("B4",))
    request = ImageQuery(sensor, GRID, *JUNE, "s2")
    samples = [StacSource(catalog).fetch(request) for catalog in (opened, json_catalog)]
    np.testing.assert_array_equal(samples[0].pixels, samples[1].pixels)
    assert samples[0].pixels[0, 0, 0] == 6.5
    assert samples[0].provenance is not None
    assert samples[0].provenance.source == opened.name == "items"


def test_windows_regions_clouds_and_collections(tmp_path: Path) -> None:
    """Half-open windows, other regions, clouds, other collections: as in any catalog."""
    builder = CatalogBuilder(tmp_path)
    june(builder, 3)
    june(builder, 5, eo__cloud_cover=80.0)
    june(builder, 8, grid=shifted(GRID, 5000, 0, 24, 24))
    june(builder, 9, grid=shifted(GRID, 0, 5000, 24, 24))
    builder.add("sentinel-2-l1c", "2023-06-10T08:00:00Z", {"red": constant(1)})
    for edge in ("2023-05-31T23:59:59Z", "2023-06-01T00:00:00Z", "2023-07-01T00:00:00Z"):
        builder.add(S2, edge, {"red": constant(1)}, item_id=edge[:10], eo__cloud_cover=0.0)
    path = write(builder, rows_a_part=1)
    assert ids(path) == ["2023-06-01", "day-03"]
    assert ids(path, replace(SEARCH, max_cloud_pct=None)) == ["2023-06-01", "day-03", "day-05"]
    assert ids(path, SEARCH.at_any_time)[0] == "2023-05-31"
    west, south, east, north = HERE
    assert ids(path, replace(SEARCH, bounds=(east, south, west, north))) == ["day-08"]


def test_nothing_says_what_there_is(tmp_path: Path) -> None:
    """The error tells the scenes of the region and of the window."""
    builder = CatalogBuilder(tmp_path)
    june(builder, 3, eo__cloud_cover=80.0)
    builder.add(S2, "2022-06-03T08:00:00Z", {"red": constant(1)})
    source = StacSource(open_catalog(str(write(builder)), timeout_s=5))
    sensor = SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("B4",))
    with pytest.raises(NoImageryError) as caught:
        source.fetch(ImageQuery(sensor, GRID, *JUNE, "s2"))
    detail = caught.value.detail
    assert (detail["scenes_at_any_time"], detail["scenes_in_window"]) == (2, 1)
    assert (detail["too_cloudy"], detail["min_cloud_pct"]) == (1, 80)


def test_items_of_a_period_have_no_datetime(tmp_path: Path) -> None:
    """They count by their start."""
    builder = CatalogBuilder(tmp_path)
    for start in ("2023-05-25", "2023-06-02"):
        item = builder.add(S2, f"{start}T00:00:00Z", {"red": constant(1)}, item_id=start)
        item.datetime = None
        item.properties |= {
            "start_datetime": f"{start}T00:00:00Z", "end_datetime": f"{start}T23:59:59Z"
        }  # fmt: skip
    june(builder, 8)
    assert ids(write(builder)) == ["2023-06-02", "day-08"]


def test_other_parts_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of parts whose statistics exclude a match no column, of others those that tell, and all
    columns only of a part with a match; the same search again reads nothing.
    """
    builder = CatalogBuilder(tmp_path)
    for day in (1, 2, 3, 4, 9, 11, 25, 26):
        june(builder, day, grid=GRID if day < 25 else shifted(GRID, 0, 5000, 24, 24))
    path = write(builder)
    read: list[tuple[int, bool]] = []
    whole = pq.ParquetFile.read_row_group

    def noted(self: Any, part: int, columns: Any = None) -> Any:
        read.append((part, columns is None))
        return whole(self, part, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", noted)
    catalog = open_catalog(str(path), timeout_s=5)
    tenth = replace(SEARCH, start=datetime(2023, 6, 10, tzinfo=UTC))
    for _ in range(2):
        assert [item.id for item in catalog.search(tenth, LATER)] == ["day-11"]
    assert read == [(2, False), (2, True)]


def test_a_folder_of_files(tmp_path: Path) -> None:
    """All of them are one catalog, wherever they lie in it."""
    for month in ("a", "b"):
        builder = CatalogBuilder(tmp_path / month)
        june(builder, 3 if month == "a" else 4)
        write(builder)
    assert ids(tmp_path) == ["day-03", "day-04"]


def test_files_are_those_of_its_folder_and_of_named_hosts(tmp_path: Path) -> None:
    """A row cannot make the service open any other."""
    builder = CatalogBuilder(tmp_path / "in")
    june(builder, 3)
    path = write(builder)
    alone = open_catalog(str(path), timeout_s=5).files
    with_hosts = open_catalog(str(path), extra_hosts=["data.example.com"], timeout_s=5).files
    tiff = str(tmp_path / "in" / "data" / "day-03" / "red.tif")
    for files in (alone, with_hosts):
        assert files.gdal_path(tiff, LATER) == tiff
        for href in ("/etc/hostname", "https://example.com/a.tif", "http://data.example.com/a.tif"):
            with pytest.raises(SourceError):
                files.gdal_path(href, LATER)
    assert with_hosts.gdal_path("https://data.example.com/a.tif", LATER).endswith("/a.tif")
    assert with_hosts.max_concurrent_reads > alone.max_concurrent_reads


def test_other_files_are_rejected(tmp_path: Path) -> None:
    """Missing, damaged, another table, an empty folder: an error that names no folder."""
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "empty").mkdir()
    for name in ("other.parquet", "damaged.parquet", "missing.parquet", "empty"):
        with pytest.raises(SourceError, match=name) as caught:
            open_catalog(str(tmp_path / name), timeout_s=5)
        assert str(tmp_path) not in caught.value.message
    with pytest.raises(SourceError, match="local disk"):
        open_catalog("https://example.com/items.parquet", timeout_s=5)


def test_a_search_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At its deadline, and at more items than anyone goes through."""
    builder = CatalogBuilder(tmp_path)
    for day in (3, 4):
        june(builder, day)
    path = write(builder)
    catalog = open_catalog(str(path), timeout_s=5)
    with pytest.raises(SourceUnavailable, match="before the timeout"):
        catalog.search(SEARCH, time.monotonic())
    monkeypatch.setattr("imagery.stac.catalogs.geoparquet.MAX_ITEMS", 1)
    with pytest.raises(SourceError, match="shorter window"):
        catalog.search(SEARCH, LATER)


def test_another_file_is_another_catalog(tmp_path: Path) -> None:
    """What it gave earlier does not stand for what it has now."""
    builder = CatalogBuilder(tmp_path)
    june(builder, 3)
    path = write(builder)
    first = open_catalog(str(path), timeout_s=5).fingerprint
    assert open_catalog(str(path), timeout_s=5).fingerprint == first
    june(builder, 4)
    assert open_catalog(str(write(builder)), timeout_s=5).fingerprint != first


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(SourceError, match=r"geobento\[geoparquet\]"):
        ParquetCatalog(tmp_path / "items.parquet", LocalFiles(tmp_path))
