"""The parity case of the annual vectors: a file in the layout of the product, asked for places."""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np
import pystac
import pytest
from numpy.typing import NDArray

from geobento.config.settings import Settings
from geobento.schemas.embedding import Embedding
from geobento.schemas.requests import GeoEmbeddingRequest
from geobento.schemas.sample import PixelGrid
from imagery.demo.items import EMBEDDING_COLLECTION
from inference.importing import import_model
from pipeline.local_engine import LocalEngine
from tests.imagery.catalogs import CatalogBuilder
from tests.parity.test_parity import DIRECTORY

FOLDER = DIRECTORY / "gse"
CRS, LEFT, TOP, PIXEL = "EPSG:32631", 600_000, 5_760_000, 10
"""Where the case's tile lies, as its file says."""

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no gse case")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> LocalEngine:
    """The case's tile in a catalog that says nothing but where it is."""
    root = tmp_path_factory.mktemp("gse")
    record = json.loads((FOLDER / "config.json").read_text())
    shutil.copy(FOLDER / record["file"], root / "tile.tif")
    height, width = np.load(FOLDER / "expected.npz")["grid"].shape[1:]
    place = PixelGrid(CRS, (PIXEL, 0, LEFT, 0, -PIXEL, TOP), height, width)
    builder = CatalogBuilder(root)
    item = builder.add(
        EMBEDDING_COLLECTION.stac_collections[0], "2022-01-01T00:00:00Z", {}, grid=place
    )
    item.properties.clear()
    item.add_asset("data", pystac.Asset(str(root / "tile.tif")))
    catalog = builder.save()
    tag = import_model("gse").tag
    return LocalEngine(Settings(models=(tag,), stac=str(catalog), cache=False))


def ask(engine: LocalEngine, spatial: dict[str, Any], **output: str) -> NDArray[np.float32]:
    """The answer for a place."""
    request = {
        "model": "gse",
        "spatial": spatial,
        "temporal": {"mode": "year", "year": 2022},
        "output": output,
    }
    (found,) = engine.geo_embedding(GeoEmbeddingRequest.model_validate(request))
    assert isinstance(found, Embedding)
    return found.data


def box(rows: slice, columns: slice) -> dict[str, Any]:
    """Some rows and columns of the tile, from north and west."""
    return {
        "type": "BBox",
        "minlon": LEFT + PIXEL * columns.start,
        "maxlon": LEFT + PIXEL * columns.stop,
        "minlat": TOP - PIXEL * rows.stop,
        "maxlat": TOP - PIXEL * rows.start,
        "crs": CRS,
    }


def test_the_case(engine: LocalEngine) -> None:
    """The whole tile north up, the mean of a window with and without its length, and a point."""
    expected = np.load(FOLDER / "expected.npz")
    height, width = expected["grid"].shape[1:]
    grid = ask(engine, box(slice(0, height), slice(0, width)), mode="grid")
    np.testing.assert_allclose(grid, expected["grid"], rtol=0, atol=1e-6)
    inputs = np.load(FOLDER / "input.npz")
    first, last, left, right = (expected if "window" in expected else inputs)["window"]
    window = box(slice(int(first), int(last)), slice(int(left), int(right)))
    mean = ask(engine, window, mode="pooled", pooling="mean")
    np.testing.assert_allclose(mean, expected["window_mean"], rtol=0, atol=1e-6)
    unit = ask(engine, window, mode="pooled")
    np.testing.assert_allclose(unit, expected["window_mean_unit"], rtol=0, atol=1e-6)
    lon, lat = (expected if "point_lonlat" in expected else inputs)["point_lonlat"]
    point = {"type": "PointBuffer", "lon": float(lon), "lat": float(lat), "buffer_m": 5}
    np.testing.assert_allclose(
        ask(engine, point, mode="grid")[:, 0, 0], expected["point"], rtol=0, atol=1e-6
    )
