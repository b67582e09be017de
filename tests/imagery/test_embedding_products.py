"""A precomputed product of vectors: quantised files in catalogs, numbers at Earth Engine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from odc.loader import RioReader
from rasterio.transform import Affine

from geobento import SensorSpec
from geobento.schemas.errors import NoImageryError, SourceError
from geobento.schemas.sample import PixelGrid
from imagery.collections import registry
from imagery.earth_engine.source import EarthEngineSource
from imagery.query import ImageQuery
from imagery.stac.catalogs.factory import open_catalog
from imagery.stac.catalogs.static import StaticCatalog
from imagery.stac.source import StacSource
from tests.imagery.catalogs import GRID, CatalogBuilder
from tests.imagery.ee_server import Standin
from tests.imagery.stac_server import Fault, StacServer
from tests.imagery.world import WorldScene, shifted

GSE = "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"
COLLECTION = registry.get(GSE)
SENSOR = SensorSpec(GSE, tuple(COLLECTION.bands), cloudy_pct=None, composite="mosaic")
NO_DATA = -128
GOOGLE = "is produced by Google and Google DeepMind."


def numbers(seed: int = 0) -> NDArray[np.int8]:
    """(64, 24, 24) stored numbers, those of some pixels missing."""
    random = np.random.default_rng(seed)
    stored = random.integers(-127, 128, (64, *GRID.shape), dtype=np.int8)
    stored[:, random.random(GRID.shape) < 0.2] = NO_DATA
    return stored


def query(pixel_grid: Any = GRID, year: int = 2022) -> ImageQuery:
    """A year at the test's region."""
    window = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    return ImageQuery(SENSOR, pixel_grid, *window, "annual")


def catalog(root: Path, *years: int) -> StacSource:
    """One file per year, its numbers by the year."""
    builder = CatalogBuilder(root)
    for year in years:
        files = {"data": numbers(year)}
        builder.add(
            COLLECTION.stac_collections[0], f"{year}-01-01T00:00:00Z", files, nodata=NO_DATA
        )
    return StacSource(StaticCatalog(builder.save()))


@dataclass(frozen=True)
class Vectors(WorldScene):
    """The same as Earth Engine has it: a number per axis, masked pixels."""

    stored: NDArray[np.int8] = field(default_factory=numbers)

    def band(self, name: str) -> NDArray[np.float64]:
        stored = self.stored[list(COLLECTION.bands).index(name)].astype(np.float64)
        return np.asarray(np.sign(stored) * (stored / 127.5) ** 2)

    def has_data(self) -> NDArray[np.bool_]:
        return np.asarray(self.stored[0] != NO_DATA)


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        (0, 0.0),
        (1, 6.15148e-05),
        (-1, -6.15148e-05),
        (64, 0.2519646),
        (127, 0.9921722),
        (-90, -0.4982699),
        (-127, -0.9921722),
    ],
)
def test_dequantization(tmp_path: Path, stored: int, value: float) -> None:
    """Squares of 127.5ths that keep their sign."""
    builder = CatalogBuilder(tmp_path)
    pixels = np.full((64, *GRID.shape), stored, np.int8)
    builder.add(
        COLLECTION.stac_collections[0], "2022-01-01T00:00:00Z", {"data": pixels}, nodata=NO_DATA
    )
    sample = StacSource(StaticCatalog(builder.save())).fetch(query())
    assert sample.pixels.dtype == np.float32
    assert sample.valid is not None
    assert sample.valid.all()
    np.testing.assert_allclose(sample.pixels, value, rtol=1e-6)


def test_files_and_earth_engine_agree(
    tmp_path: Path, standin: Standin, source: EarthEngineSource
) -> None:
    """Values, gaps, also beyond the edge of the product, and whose data they are."""
    standin.scenes = [
        Vectors(f"tile-{year}", f"{year}-01-01T00:00:00Z", collection=GSE, stored=numbers(year))
        for year in (2021, 2022, 2023)
    ]
    request = query(shifted(GRID, -3, 2, 20, 30))
    both = [each.fetch(request) for each in (source, catalog(tmp_path, 2021, 2022, 2023))]
    for sample in both:
        assert sample.pixels.shape == (64, 20, 30)
        assert sample.provenance is not None
        assert (sample.provenance.notice or "").endswith(GOOGLE)
        assert [scene.time.year for scene in sample.provenance.scenes] == [2022]
    gee, stac = both
    assert gee.valid is not None
    assert stac.valid is not None
    assert (gee.valid == stac.valid).all()
    assert not gee.valid[:, :3].any()
    np.testing.assert_allclose(gee.pixels, stac.pixels, atol=1e-6)
    expected = Vectors("", "", stored=numbers(2022)).band("A17")[2:22, :24]
    seen = stac.valid[:, 3:27]
    np.testing.assert_allclose(stac.pixels[17, :, 3:27][seen], expected[seen], atol=1e-6)


def test_a_survey_says_whose_data_they_are(tmp_path: Path) -> None:
    """The attribution that the licence requires is there before a pixel is read."""
    survey = catalog(tmp_path, 2022).estimate(query())
    assert (survey.provenance.notice or "").endswith(GOOGLE)
    assert survey.requests == 1
    assert survey.bytes == 64 * 24 * 24 * 4


def test_a_year_that_is_not_there(tmp_path: Path) -> None:
    """No neighbouring year is taken instead."""
    with pytest.raises(NoImageryError, match="2021-01-01"):
        catalog(tmp_path, 2021, 2023).fetch(query(year=2022))


@pytest.mark.parametrize("described", [True, False])
def test_files_that_are_stored_from_south_to_north(tmp_path: Path, described: bool) -> None:
    """As the product's own: the first row of the file is the southern edge."""
    builder = CatalogBuilder(tmp_path)
    item = builder.add(
        COLLECTION.stac_collections[0], "2022-01-01T00:00:00Z", {"data": numbers()}, nodata=-128
    )
    a, _, left, _, e, top = GRID.transform
    upwards = Affine(a, 0, left, 0, -e, top + e * GRID.height)
    if described:
        item.properties["proj:transform"] = list(upwards)[:6]
    else:
        for name in ("proj:code", "proj:shape", "proj:transform"):
            del item.properties[name]
    with rasterio.open(
        item.assets["data"].href, "w", driver="GTiff", count=64, dtype="int8", nodata=NO_DATA,
        height=GRID.height, width=GRID.width, crs=GRID.crs, transform=upwards,
    ) as file:  # fmt: skip
        file.write(numbers()[:, ::-1])
    sample = StacSource(StaticCatalog(builder.save())).fetch(query())
    north_up = Vectors("", "")
    assert sample.valid is not None
    assert (sample.valid == north_up.has_data()).all()
    np.testing.assert_allclose(
        sample.pixels[5][sample.valid], north_up.band("A05")[sample.valid], atol=1e-6
    )


def interleaved(root: Path, how: str) -> StacSource:
    """A file of 64 x 64 pixels in blocks, each with all bands of its pixels or with one."""
    builder = CatalogBuilder(root)
    grid = shifted(GRID, -20, -20, 64, 64)
    stored = np.random.default_rng(3).integers(-127, 128, (64, 64, 64), dtype=np.int8)
    item = builder.add(
        COLLECTION.stac_collections[0],
        "2022-01-01T00:00:00Z",
        {"data": stored},
        grid=grid,
        nodata=NO_DATA,
    )
    with rasterio.open(
        item.assets["data"].href, "w", driver="GTiff", count=64, dtype="int8", nodata=NO_DATA,
        height=64, width=64, crs=grid.crs, transform=Affine(*grid.transform),
        tiled=True, blockxsize=16, blockysize=16, compress="deflate", interleave=how,
    ) as file:  # fmt: skip
        file.write(stored)
        file.build_overviews([2])
    return StacSource(StaticCatalog(builder.save()))


@pytest.mark.parametrize("how", ["pixel", "band"])
@pytest.mark.parametrize("scale", [10, 7, 30])
def test_all_bands_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, scale: int
) -> None:
    """A file is read once for its 64 bands, to what reading them one by one gives: on its own
    pixels, on others, and from its overviews.
    """
    source = interleaved(tmp_path, how)
    _, _, left, _, _, top = GRID.transform
    expected = PixelGrid(GRID.crs, (scale, 0.0, left + 13, 0.0, -scale, top - 4), 15, 11)
    request = query(GRID if scale == 10 else expected)
    read: list[int] = []
    once = RioReader.read

    def noted(self: Any, *given: Any, **options: Any) -> Any:
        read.append(self._src.band)
        return once(self, *given, **options)

    monkeypatch.setattr(RioReader, "read", noted)
    together = source.fetch(request)
    assert read == [0]
    monkeypatch.setattr("imagery.stac.loader._shared_asset_bands", lambda keys: [])
    one_by_one = source.fetch(request)
    assert sorted(read[1:]) == list(range(1, 65))
    np.testing.assert_array_equal(together.pixels, one_by_one.pixels)
    np.testing.assert_array_equal(together.valid, one_by_one.valid)
    few = replace(request, sensor=replace(SENSOR, bands=("A09", "A63", "A00")))
    some = source.fetch(few)
    np.testing.assert_array_equal(some.pixels, together.pixels[[9, 63, 0]])


def test_a_file_over_http_is_asked_for_once(stac: StacServer, tmp_path: Path) -> None:
    """Not once for every band, though many are read at a time."""
    interleaved(tmp_path, "pixel")
    url = stac.file(tmp_path / "catalog.json")
    sample = StacSource(open_catalog(url, timeout_s=20)).fetch(query())
    assert sample.pixels.shape == (64, 24, 24)
    requests = [each for each in stac.requests("files") if each["path"].endswith(".tif")]
    assert 1 <= len(requests) <= 8


@pytest.mark.usefixtures("quick")
def test_a_file_that_fails_fails_for_all_its_bands(stac: StacServer, tmp_path: Path) -> None:
    """No thread waits for a band that never comes; temporary failures are retried."""
    interleaved(tmp_path, "pixel")
    source = StacSource(open_catalog(stac.file(tmp_path / "catalog.json"), timeout_s=20))
    stac.reset(faults={"files": [Fault(truncated=True)] * 2})
    expected = StacSource(StaticCatalog(tmp_path / "catalog.json")).fetch(query())
    np.testing.assert_array_equal(source.fetch(query()).pixels, expected.pixels)
    (tmp_path / "data" / "item-1" / "data.tif").unlink()
    with pytest.raises(SourceError):
        source.fetch(query(shifted(GRID, 1, 0, 24, 24)))
