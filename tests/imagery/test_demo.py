"""The demo archive."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio

from imagery import demo
from imagery.landscape import cloud_share


def test_the_archive_is_whole_and_small(demo_archive: Path) -> None:
    """Two places, a year of both sensors, elevation; under 40 MB."""
    items = list(pystac.Catalog.from_file(str(demo_archive)).get_items(recursive=True))
    counts: dict[str, int] = {}
    for item in items:
        counts[str(item.collection_id)] = counts.get(str(item.collection_id), 0) + 1
    assert counts == {"sentinel-2-l2a": 24, "sentinel-1-rtc": 24, "cop-dem-glo-30": 2}
    size = sum(file.stat().st_size for file in demo_archive.parent.rglob("*") if file.is_file())
    assert size < 40e6
    record = json.loads(demo_archive.read_text())
    assert "synthetic" in record["description"]


def test_items_tell_the_truth_about_their_files(demo_archive: Path) -> None:
    """Cloud cover equals the classification; grid, nodata and dtype equal the files'."""
    catalog = pystac.Catalog.from_file(str(demo_archive))
    item = next(
        i for i in catalog.get_items(recursive=True) if i.id.endswith("midlatitude-20230414")
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
                assert item.properties["eo:cloud_cover"] == cloud_share(file.read(1))
    assert item.properties["eo:cloud_cover"] > 30


def test_pixels_are_the_landscapes(demo_archive: Path) -> None:
    """A file holds exactly what the landscape draws, so two machines have the same archive."""
    place = demo.PLACES[0]
    numbers, _ = place.landscape.scene(6, demo.CLOUDY[(5 + place.sky) % 12])
    (folder,) = (demo_archive.parent / "data" / "sentinel-2-l2a").glob("*savanna-202306*")
    for number, key in enumerate(demo.S2_ASSETS.values()):
        with rasterio.open(folder / f"{key}.tif") as file:
            np.testing.assert_array_equal(file.read(1), numbers[number])


def test_a_finished_archive_is_left_alone(demo_archive: Path) -> None:
    """Asking again writes nothing."""
    before = demo_archive.stat().st_mtime_ns
    assert demo.write_demo_archive(demo_archive.parent) == demo_archive
    assert demo_archive.stat().st_mtime_ns == before


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half-written archive can be taken for a finished one."""

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(demo, "_write_cog", fail)
    with pytest.raises(OSError, match="disk full"):
        demo.write_demo_archive(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_other_peoples_folders_are_not_touched(tmp_path: Path) -> None:
    """A folder with other files is refused and stays as it is."""
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not empty"):
        demo.write_demo_archive(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_an_older_archive_is_replaced(tmp_path: Path) -> None:
    """Another version makes way, and nothing of it stays."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "catalog.json").write_text('{"geobento:demo_version": "0"}')
    (tmp_path / "demo" / "old.tif").write_text("old")
    catalog = demo.write_demo_archive(tmp_path / "demo")
    assert json.loads(catalog.read_text())["geobento:demo_version"] == demo.DEMO_VERSION
    assert not (tmp_path / "demo" / "old.tif").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo"]


@pytest.mark.slow
def test_several_processes_at_once(tmp_path: Path) -> None:
    """All get the same finished archive, and no copy is left behind."""
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        paths = pool.map(demo.ensure_demo_archive, [tmp_path / "demo"] * 3)
    assert set(paths) == {tmp_path / "demo" / "catalog.json"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo"]
