"""The demo archive."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio

from geobento import PointBuffer
from imagery import grid
from imagery.demo import archive, regions
from imagery.demo import items as demo_items
from imagery.demo.landscape import cloud_percentage


def test_the_archive_is_whole_and_small(demo_archive: Path) -> None:
    """A year of all sensors for two regions, a month for others, elevation, vectors: 80 MB."""
    items = list(pystac.Catalog.from_file(str(demo_archive)).get_items(recursive=True))
    counts: dict[str, int] = {}
    for item in items:
        counts[str(item.collection_id)] = counts.get(str(item.collection_id), 0) + 1
    assert counts == {
        "sentinel-2-l2a": 26,
        "sentinel-2-l1c": 26,
        "sentinel-1-rtc": 26,
        "cop-dem-glo-30": 4,
        "satellite-embedding-v1-annual": 4,
    }
    size = sum(file.stat().st_size for file in demo_archive.parent.rglob("*") if file.is_file())
    assert size < 80e6
    record = json.loads(demo_archive.read_text())
    assert "synthetic" in record["description"]


def test_items_tell_the_truth_about_their_files(demo_archive: Path) -> None:
    """Cloud cover equals the classification; grid, nodata and dtype equal the files'."""
    catalog = pystac.Catalog.from_file(str(demo_archive))
    item = next(
        i
        for i in catalog.get_items(recursive=True)
        if i.id == "sentinel-2-l2a-midlatitude-20230414"
    )
    item.make_asset_hrefs_absolute()
    assert len(item.assets) == 14
    for key, asset in item.assets.items():
        with rasterio.open(asset.href) as file:
            assert file.driver == "GTiff"
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert str(file.crs) == item.properties["proj:code"]
            assert list(file.transform)[:6] == item.properties["proj:transform"]
            assert file.nodata == asset.extra_fields["raster:bands"][0].get("nodata")
            assert file.dtypes[0] == asset.extra_fields["raster:bands"][0]["data_type"]
            if key == "scl":
                assert item.properties["eo:cloud_cover"] == cloud_percentage(file.read(1))
    assert item.properties["eo:cloud_cover"] > 30


def test_every_scene_states_the_clouds_it_shows(demo_archive: Path) -> None:
    """`eo:cloud_cover` is the classification's in all scenes; clear and cloudy ones are there."""
    covers: dict[str, list[float]] = {region.name: [] for region in regions.DEMO_REGIONS}
    for item in pystac.Catalog.from_file(str(demo_archive)).get_items(recursive=True):
        if item.collection_id != "sentinel-2-l2a":
            continue
        item.make_asset_hrefs_absolute()
        with rasterio.open(item.assets["scl"].href) as file:
            assert item.properties["eo:cloud_cover"] == cloud_percentage(file.read(1))
        name = next(name for name in covers if name in item.id)
        covers[name].append(item.properties["eo:cloud_cover"])
    for region, shares in zip(regions.DEMO_REGIONS, covers.values(), strict=True):
        assert len(shares) == len(region.months)
        if len(shares) < 12:
            assert max(shares) < 10
            continue
        assert sum(share < 10 for share in shares) >= 4
        assert sum(40 <= share <= 80 for share in shares) >= 2


def test_the_archive_can_be_moved(demo_archive: Path) -> None:
    """Links and assets are relative and lead to files that are there."""
    hrefs = 0
    for file in demo_archive.parent.rglob("*.json"):
        record = json.loads(file.read_text())
        targets = [link["href"] for link in record["links"] if link["rel"] != "self"]
        targets += [asset["href"] for asset in record.get("assets", {}).values()]
        for href in targets:
            assert href.startswith(("./", "../"))
            assert (file.parent / href).is_file()
        hrefs += len(targets)
    assert hrefs > 386
    assert str(demo_archive.parent) not in demo_archive.read_text()


def test_bands_are_described_as_in_public_catalogs(demo_archive: Path) -> None:
    """Zero-padded names, wavelengths in rising order, scale, offset and their history."""
    catalog = pystac.Catalog.from_file(str(demo_archive))
    item = next(i for i in catalog.get_items(recursive=True) if "sentinel-2-l2a" in i.id)
    described = {key: item.assets[key].extra_fields for key in demo_items.S2_ASSETS.values()}
    names = [fields["eo:bands"][0]["name"] for fields in described.values()]
    assert " ".join(names) == "B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B11 B12"
    wavelengths = [fields["eo:bands"][0]["center_wavelength"] for fields in described.values()]
    assert wavelengths == sorted(wavelengths)
    scaled = {"data_type": "uint16", "nodata": 0, "scale": 0.0001, "offset": 0}
    assert all(fields["raster:bands"] == [scaled] for fields in described.values())
    assert item.properties["earthsearch:boa_offset_applied"] is True
    assert item.properties["s2:processing_baseline"]


@pytest.mark.parametrize("region", regions.DEMO_REGIONS, ids=lambda region: region.name)
def test_a_kilometre_around_the_region_is_inside(region: regions.DemoRegion) -> None:
    """The README's square has pixels up to its edges; corners are multiples of 10 m."""
    ours = regions.pixel_grid(region)
    request = grid.for_region(PointBuffer(region.lon, region.lat, 1000), 10, 10)
    assert ours.crs == request.crs
    left, bottom, right, top = ours.bounds
    assert all(edge % 10 == 0 for edge in ours.bounds)
    assert left <= request.bounds[0] < request.bounds[2] <= right
    assert bottom <= request.bounds[1] < request.bounds[3] <= top


def test_the_readmes_month_is_clear_in_tanzania(demo_archive: Path) -> None:
    """June 2023 has one scene there, and hardly a cloud."""
    items = pystac.Catalog.from_file(str(demo_archive)).get_items(recursive=True)
    (scene,) = [i for i in items if i.id.startswith("sentinel-2-l2a-savanna-202306")]
    assert scene.properties["eo:cloud_cover"] < 10
    assert (regions.DEMO_REGIONS[0].lon, regions.DEMO_REGIONS[0].lat) == (34.066, -3.401)


def test_pixels_are_the_landscapes(demo_archive: Path) -> None:
    """A file holds exactly what the landscape draws, so two machines have the same archive."""
    region = regions.DEMO_REGIONS[0]
    numbers, _ = region.landscape.scene(
        6, demo_items.CLOUD_FRACTIONS[(5 + region.first_cloud_index) % 12]
    )
    (folder,) = (demo_archive.parent / "data" / "sentinel-2-l2a").glob("*savanna-202306*")
    for number, key in enumerate(demo_items.S2_ASSETS.values()):
        with rasterio.open(folder / f"{key}.tif") as file:
            np.testing.assert_array_equal(file.read(1), numbers[number])


def test_a_finished_archive_is_left_alone(demo_archive: Path) -> None:
    """Asking again writes nothing."""
    before = demo_archive.stat().st_mtime_ns
    assert archive.write_demo_archive(demo_archive.parent) == demo_archive
    assert demo_archive.stat().st_mtime_ns == before


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half-written archive can be taken for a finished one."""

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(demo_items, "_write_cog", fail)
    with pytest.raises(OSError, match="disk full"):
        archive.write_demo_archive(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_other_peoples_folders_are_not_touched(tmp_path: Path) -> None:
    """A folder with other files is refused and stays as it is."""
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not empty"):
        archive.write_demo_archive(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("content", [b"[]", b"{}", b"{", b"\xff\xfe\0"])
def test_other_catalogs_are_not_touched(tmp_path: Path, content: bytes) -> None:
    """Somebody else's `catalog.json`, or a damaged one, is refused and not overwritten."""
    (tmp_path / "catalog.json").write_bytes(content)
    with pytest.raises(FileExistsError, match="holds no demo archive"):
        archive.write_demo_archive(tmp_path)
    assert (tmp_path / "catalog.json").read_bytes() == content


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    """The same error as for a folder, and the file stays."""
    (tmp_path / "demo").write_text("precious")
    with pytest.raises(FileExistsError, match="not a folder"):
        archive.write_demo_archive(tmp_path / "demo")
    assert (tmp_path / "demo").read_text() == "precious"


def test_folders_filled_while_writing_are_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that others filled in the meantime is not moved away and deleted."""

    def write(root: Path, _: object) -> None:
        (root / "catalog.json").write_text("{}")
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo" / "thesis.txt").write_text("precious")

    monkeypatch.setattr(archive, "_write_archive", write)
    with pytest.raises(FileExistsError, match="not empty"):
        archive.write_demo_archive(tmp_path / "demo")
    assert (tmp_path / "demo" / "thesis.txt").read_text() == "precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo"]


def test_a_link_to_another_disk_stays_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive is written where the link leads."""

    def write(root: Path, _: object) -> None:
        (root / "catalog.json").write_text("{}")

    monkeypatch.setattr(archive, "_write_archive", write)
    (tmp_path / "disk").mkdir()
    (tmp_path / "demo").symlink_to(tmp_path / "disk")
    catalog = archive.write_demo_archive(tmp_path / "demo")
    assert catalog == tmp_path / "demo" / "catalog.json"
    assert (tmp_path / "demo").is_symlink()
    assert (tmp_path / "disk" / "catalog.json").is_file()


def test_where_folders_cannot_be_locked_the_first_copy_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a lock the loser of a race discards its copy and says nothing."""

    def no_lock(*_: object) -> None:
        raise OSError("no locks available")

    def write(root: Path, _: object) -> None:
        record = json.dumps({"geobento:demo_version": archive.DEMO_VERSION})
        (root / "catalog.json").write_text(record)
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo" / "catalog.json").write_text(record + " ")

    monkeypatch.setattr(fcntl, "flock", no_lock)
    monkeypatch.setattr(archive, "_write_archive", write)
    assert archive.ensure_demo_archive(tmp_path / "demo").read_text().endswith(" ")
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo"]


def test_an_older_archive_is_replaced(tmp_path: Path) -> None:
    """Another version makes way, and nothing of it stays."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "catalog.json").write_text('{"geobento:demo_version": "0"}')
    (tmp_path / "demo" / "old.tif").write_text("old")
    catalog = archive.write_demo_archive(tmp_path / "demo")
    assert json.loads(catalog.read_text())["geobento:demo_version"] == archive.DEMO_VERSION
    assert not (tmp_path / "demo" / "old.tif").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo"]


@pytest.mark.slow
def test_several_processes_at_once(tmp_path: Path) -> None:
    """All get the same finished archive, and no copy is left behind."""
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        paths = pool.map(archive.ensure_demo_archive, [tmp_path / "demo"] * 3)
    assert set(paths) == {tmp_path / "demo" / "catalog.json"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo"]
