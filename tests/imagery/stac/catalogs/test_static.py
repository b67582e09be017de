"""Searching a catalog on disk."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geobento import SensorSpec
from geobento.schemas.errors import SourceError
from imagery.grid import lonlat_bounds
from imagery.query import ImageQuery
from imagery.stac.catalogs.base import Search, bounds_overlap
from imagery.stac.catalogs.factory import open_catalog
from imagery.stac.catalogs.static import StaticCatalog
from imagery.stac.files import resolve_tiff
from imagery.stac.source import StacSource
from tests.imagery.catalogs import GRID, CatalogBuilder, constant
from tests.imagery.stac_server import Fault, StacServer

HERE = lonlat_bounds(GRID)
LATER = float("inf")
BAND = {"red": constant(1)}


def june(day: int) -> datetime:
    """A midnight in June 2023."""
    return datetime(2023, 6, day, tzinfo=UTC)


def find(catalog: Path, **changes: object) -> list[str]:
    """Ids that a search for June at the test's region finds."""
    fields: dict[str, object] = {
        "collections": ("a",),
        "bounds": HERE,
        "start": june(1),
        "end": june(30),
        **changes,
    }
    return [item.id for item in StaticCatalog(catalog).search(Search(**fields), LATER)]  # type: ignore[arg-type]


def test_the_window_is_half_open(tmp_path: Path) -> None:
    """The first instant is inside, the last is not; results are oldest first."""
    builder = CatalogBuilder(tmp_path)
    for name, time in [
        ("end", "2023-06-30T00:00:00Z"),
        ("last", "2023-06-29T23:59:59Z"),
        ("first", "2023-06-01T00:00:00Z"),
        ("before", "2023-05-31T23:59:59Z"),
    ]:
        builder.add("a", time, BAND, item_id=name)
    assert find(builder.save()) == ["first", "last"]


def test_region_collection_and_clouds(tmp_path: Path) -> None:
    """Elsewhere, another collection, too cloudy: left out. No cloud property: kept."""
    builder = CatalogBuilder(tmp_path)
    builder.add("a", "2023-06-02T00:00:00Z", BAND, item_id="clear", eo__cloud_cover=30.0)
    builder.add("a", "2023-06-03T00:00:00Z", BAND, item_id="cloudy", eo__cloud_cover=30.1)
    builder.add("a", "2023-06-04T00:00:00Z", BAND, item_id="unstated")
    builder.add("b", "2023-06-05T00:00:00Z", BAND, item_id="other")
    catalog = builder.save()
    clouds = {"cloud_property": "eo:cloud_cover", "max_cloud_pct": 30.0}
    assert find(catalog, **clouds) == ["clear", "unstated"]
    assert find(catalog) == ["clear", "cloudy", "unstated"]
    assert find(catalog, collections=("b",)) == ["other"]
    assert find(catalog, bounds=(0, 0, 1, 1)) == []


def test_the_newest_processing_of_an_acquisition_is_taken(tmp_path: Path) -> None:
    """A reprocessed scene replaces the earlier one, whatever their order."""
    builder = CatalogBuilder(tmp_path)
    same: dict[str, Any] = {"platform": "s2a", "grid__code": "36MYB"}
    time = "2023-06-02T10:00:00Z"
    builder.add("a", time, BAND, item_id="new", s2__processing_baseline="05.10", **same)
    builder.add("a", time, BAND, item_id="old", s2__processing_baseline="02.14", **same)
    builder.add("a", time, BAND, item_id="tile", platform="s2a", grid__code="36MYC")
    assert find(builder.save()) == ["new", "tile"]


@pytest.mark.parametrize(
    ("time", "is_found"),
    [
        ("2023-05-31T23:59:59.999500+00:00", True),
        ("2023-05-31T23:59:59.999400+00:00", False),
        ("2023-06-30T23:59:59.999400+00:00", True),
        ("2023-06-30T23:59:59.999500+00:00", False),
    ],
)
def test_times_are_compared_in_milliseconds(tmp_path: Path, time: str, is_found: bool) -> None:
    """A composite may be dated half a millisecond before its first day."""
    builder = CatalogBuilder(tmp_path)
    builder.add("a", time, BAND, item_id="x")
    window = {"start": datetime(2023, 6, 1, tzinfo=UTC), "end": datetime(2023, 7, 1, tzinfo=UTC)}
    assert find(builder.save(), **window) == (["x"] if is_found else [])


@pytest.mark.parametrize("seconds", [-214, -0.7, 0, 0.7, 214])
def test_processings_may_date_an_acquisition_apart(tmp_path: Path, seconds: float) -> None:
    """By seconds or minutes, in either direction; the newer one counts, with all its parts."""
    builder = CatalogBuilder(tmp_path)
    taken = datetime(2023, 6, 2, 10, tzinfo=UTC)
    again = taken + timedelta(seconds=seconds)
    tile: dict[str, Any] = {"platform": "s2a", "grid__code": "36MYB"}
    old: dict[str, Any] = {"s2__processing_baseline": "02.14"}
    new: dict[str, Any] = {"s2__processing_baseline": "05.10"}
    builder.add("a", taken.isoformat(), BAND, item_id="old", **old, **tile)
    builder.add("a", again.isoformat(), BAND, item_id="new", **new, **tile)
    later = again + timedelta(seconds=9)
    builder.add("a", later.isoformat(), BAND, item_id="part", **new, **tile)
    other = {**tile, "platform": "s2b"}
    builder.add("a", taken.isoformat(), BAND, item_id="zz other satellite", **old, **other)
    next_pass = taken + timedelta(days=5)
    builder.add("a", next_pass.isoformat(), BAND, item_id="zz next pass", **old, **tile)
    names = find(builder.save())
    assert sorted(names) == ["new", "part", "zz next pass", "zz other satellite"]


@pytest.mark.parametrize("text", [None, "{", '{"type": "Feature"}'])
def test_a_catalog_that_cannot_be_read(tmp_path: Path, text: str | None) -> None:
    """Missing or damaged: an error that names the file and no folder of the server."""
    file = tmp_path / "catalog.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SourceError, match=r"catalog\.json") as caught:
        StaticCatalog(file).search(Search(("a",), HERE), LATER)
    assert str(tmp_path) not in caught.value.message


def test_only_tiffs_inside_the_catalog_are_opened(tmp_path: Path) -> None:
    """A catalog cannot make the service read other files, nor formats that point to files."""
    root = tmp_path / "catalog"
    builder = CatalogBuilder(root)
    item = builder.add("a", "2023-06-02T00:00:00Z", BAND)
    builder.save()
    inside = Path(root / "data" / item.id / "red.tif")
    assert resolve_tiff(str(inside), root) == inside
    assert resolve_tiff(inside.as_uri(), root) == inside
    outside = tmp_path / "secret.tif"
    outside.write_bytes(inside.read_bytes())
    virtual = root / "virtual.tif"
    virtual.write_text("<VRTDataset/>")
    (root / "link.tif").symlink_to(outside)
    for href, message in [
        (str(outside), "outside"),
        (str(root / ".." / "secret.tif"), "outside"),
        (str(root / "link.tif"), "outside"),
        (str(virtual), "not a TIFF"),
        (str(root / "missing.tif"), "cannot be read"),
        ("https://example.com/a.tif", "not a local file"),
        ("/vsicurl/https://example.com/a.tif", "outside"),
    ]:
        with pytest.raises(SourceError, match=message):
            resolve_tiff(href, root)


@pytest.mark.parametrize("rel", ["child", "item"])
@pytest.mark.parametrize("href", ["../other/catalog.json", "absolute", "file", "http"])
def test_links_lead_nowhere_outside_the_catalog(tmp_path: Path, rel: str, href: str) -> None:
    """A catalog cannot make the service read records elsewhere, on disk or on a network."""
    other = CatalogBuilder(tmp_path / "other")
    other.add("a", "2023-06-02T00:00:00Z", BAND)
    secret = other.save()
    catalog = CatalogBuilder(tmp_path / "catalog").save()
    record = json.loads(catalog.read_text())
    hrefs = {
        "absolute": str(secret),
        "file": secret.as_uri(),
        "http": "http://127.0.0.1:9/catalog.json",
    }
    record["links"].append({"rel": rel, "href": hrefs.get(href, href)})
    catalog.write_text(json.dumps(record))
    with pytest.raises(SourceError, match=r"outside|not a local file") as caught:
        StaticCatalog(catalog).load()
    assert str(tmp_path) not in caught.value.message


def test_a_root_link_is_not_followed(tmp_path: Path) -> None:
    """Only what lies below is read: what a record calls its root or parent plays no part."""
    builder = CatalogBuilder(tmp_path)
    builder.add("a", "2023-06-02T00:00:00Z", BAND)
    catalog = builder.save()
    for file in tmp_path.rglob("*.json"):
        record = json.loads(file.read_text())
        for link in record["links"]:
            if link["rel"] in ("root", "parent", "collection"):
                link["href"] = "http://127.0.0.1:9/catalog.json"
        file.write_text(json.dumps(record))
    assert find(catalog) == ["item-1"]


def test_a_catalog_that_links_to_itself_ends(tmp_path: Path) -> None:
    """Every record is read once."""
    builder = CatalogBuilder(tmp_path)
    builder.add("a", "2023-06-02T00:00:00Z", BAND)
    catalog = builder.save()
    record = json.loads(catalog.read_text())
    record["links"] += [{"rel": "child", "href": "./catalog.json"}] + record["links"]
    catalog.write_text(json.dumps(record))
    assert find(catalog) == ["item-1"]


def test_odd_properties_of_items(tmp_path: Path) -> None:
    """Bounds with heights are bounds; a cloud percentage that is no number is not stated."""
    builder = CatalogBuilder(tmp_path)
    item = builder.add("a", "2023-06-02T00:00:00Z", BAND, eo__cloud_cover="n/a")
    assert item.bbox is not None
    west, south, east, north = item.bbox
    item.bbox = [west, south, 900.0, east, north, 1200.0]
    catalog = builder.save()
    assert find(catalog, cloud_property="eo:cloud_cover", max_cloud_pct=30.0) == ["item-1"]
    assert find(catalog, bounds=(0, 0, 1, 1)) == []


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        ((179.0, 0.0, 179.995, 1.0), True),
        ((-179.995, 0.0, -179.0, 1.0), True),
        ((179.5, 0.0, -179.5, 1.0), True),
        ((-1.0, 0.0, 1.0, 1.0), False),
        ((179.0, 2.0, -179.0, 3.0), False),
    ],
)
def test_rectangles_across_the_antimeridian(
    other: tuple[float, float, float, float], shared: bool
) -> None:
    """Scenes on both sides are found, and no others."""
    crossing = (179.99, 0.2, -179.99, 0.4)
    assert bounds_overlap(crossing, other) is shared
    assert bounds_overlap(other, crossing) is shared


def web_catalog(stac: StacServer, catalog: Path) -> StaticCatalog:
    """A catalog of the test's folder, over HTTP."""
    opened = open_catalog(stac.file(catalog), timeout_s=20)
    assert isinstance(opened, StaticCatalog)
    return opened


def test_a_catalog_on_a_web_server(stac: StacServer, tmp_path: Path) -> None:
    """The same items and pixels as from disk; every record is read once."""
    builder = CatalogBuilder(tmp_path)
    for day in range(1, 8):
        bands = {"red": constant(day), "nir": constant(10 * day)}
        builder.add("sentinel-2-l2a", f"2023-06-0{day}T00:00:00Z", bands)
    path = builder.save()
    catalog = web_catalog(stac, path)
    assert catalog.name == StaticCatalog(path).name
    assert len(stac.requests("files")) == 1 + 1 + 1 + 7  # the first is asked for what it is
    sensor = SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("B4", "B8"))
    request = ImageQuery(sensor, GRID, june(1), june(30), "s2")
    sample = StacSource(catalog).fetch(request)
    assert sample.pixels[:, 0, 0].tolist() == [4, 40]
    np.testing.assert_array_equal(
        sample.pixels, StacSource(StaticCatalog(path)).fetch(request).pixels
    )


@pytest.mark.parametrize(
    "href",
    [
        "http://127.0.0.1:9/catalog.json", "file:///etc/hostname", "../other.json",
        "/files/other.json", "./a/%2e%2e/%2e%2e/other.json", "//127.0.0.1:9/catalog.json",
    ],
)  # fmt: skip
def test_links_lead_nowhere_outside_the_web_catalog(
    stac: StacServer, tmp_path: Path, href: str
) -> None:
    """Records are read below the catalog's own folder alone."""
    path = CatalogBuilder(tmp_path / "catalog").save()
    record = json.loads(path.read_text())
    record["links"].append({"rel": "item", "href": href})
    path.write_text(json.dumps(record))
    with pytest.raises(SourceError, match="outside the catalog's folder"):
        web_catalog(stac, path)
    assert all(
        request["path"].endswith("/catalog/catalog.json") for request in stac.requests("files")
    )


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(status=404), "404"),
        (Fault(body="{"), "not JSON"),
        (Fault(body='{"type": "Other"}'), "not a STAC catalog"),
    ],
)
def test_a_web_catalog_that_cannot_be_read(
    stac: StacServer, tmp_path: Path, waits: list[float], fault: Fault, message: str
) -> None:
    """The error names the host, and no more of the address."""
    builder = CatalogBuilder(tmp_path)
    builder.add("a", "2023-06-02T00:00:00Z", BAND)
    catalog = builder.save()
    stac.reset(faults={"files": [None, None, *[fault] * 20]})
    with pytest.raises(SourceError, match=message) as caught:
        web_catalog(stac, catalog)
    assert "127.0.0.1" in caught.value.message
    assert "/files" not in caught.value.message


def test_the_identity_is_of_all_records(tmp_path: Path) -> None:
    """A change of any one shows, whichever file it is in."""
    builder = CatalogBuilder(tmp_path)
    builder.add("a", "2023-06-02T00:00:00Z", BAND)
    catalog = builder.save()
    fingerprints = [StaticCatalog(catalog).fingerprint, StaticCatalog(catalog).fingerprint]
    assert fingerprints[0] == fingerprints[1]
    records = sorted(tmp_path.rglob("*.json"))
    assert len(records) == 3
    for file in records:
        file.write_text(json.dumps(json.loads(file.read_text()) | {"note": "changed"}))
        fingerprints.append(StaticCatalog(catalog).fingerprint)
    assert len(set(fingerprints)) == 4
