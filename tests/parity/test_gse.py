"""Parity cases of the annual vectors: a file in the layout of the product, and regions in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from numpy.typing import NDArray

from geobento.config.settings import Settings
from geobento.schemas.embedding import Embedding
from geobento.schemas.requests import GeoEmbeddingRequest
from geobento.schemas.sample import PixelGrid
from imagery.demo.items import EMBEDDING_COLLECTION
from inference.importing import import_model
from pipeline.local_engine import LocalEngine
from tests.imagery.catalogs import CatalogBuilder
from tests.parity.cases import cases_of, read_record

YEAR = 2022
"""Of cases that state none."""


class Product:
    """A case's tile in a catalog that says nothing but where it is."""

    def __init__(self, folder: Path, root: Path) -> None:
        record = read_record(folder)
        self.year = int(record.get("year", YEAR))
        self.expected = np.load(folder / "expected.npz")
        self.inputs = np.load(folder / "input.npz")
        tile = root / f"tile{Path(record['file']).suffix}"
        shutil.copy(folder / record["file"], tile)
        self.grid = _north_up_grid(tile)
        builder = CatalogBuilder(root)
        time = f"{self.year}-01-01T00:00:00Z"
        item = builder.add(EMBEDDING_COLLECTION.stac_collections[0], time, {}, grid=self.grid)
        item.properties.clear()
        item.add_asset("data", pystac.Asset(str(tile)))
        catalog = builder.save()
        tag = import_model("gse").tag
        self._engine = LocalEngine(Settings(models=(tag,), stac=str(catalog), cache=False))

    def array(self, name: str) -> NDArray[Any]:
        """An array that cases have with the expected results or with the input."""
        array: NDArray[Any] = (self.expected if name in self.expected else self.inputs)[name]
        return array

    def ask(self, spatial: dict[str, Any], **output: str) -> NDArray[np.float32]:
        """The answer for a region."""
        request = {
            "model": "gse",
            "spatial": spatial,
            "temporal": {"mode": "year", "year": self.year},
            "output": output,
        }
        (embedding,) = self._engine.geo_embedding(GeoEmbeddingRequest.model_validate(request))
        assert isinstance(embedding, Embedding)
        return embedding.data

    def box(self, rows: slice, columns: slice) -> dict[str, Any]:
        """Some rows and columns of the tile, counted from north and west."""
        pixel, _, left, _, _, top = self.grid.transform
        return {
            "type": "BBox",
            "minlon": left + pixel * columns.start,
            "maxlon": left + pixel * columns.stop,
            "minlat": top - pixel * rows.stop,
            "maxlat": top - pixel * rows.start,
            "crs": self.grid.crs,
        }


def _north_up_grid(tile: Path) -> PixelGrid:
    """The grid of a file, whose first row may be the southern edge."""
    with rasterio.open(tile) as file:
        left, bottom, _, top = file.bounds
        pixel = file.transform.a
        transform = (pixel, 0.0, left, 0.0, -pixel, max(bottom, top))
        return PixelGrid(str(file.crs), transform, file.height, file.width)


@pytest.mark.parametrize("folder", cases_of("gse"))
def test_the_case(folder: Path, tmp_path: Path) -> None:
    """The whole tile north up, the mean of a window with and without its length, and a point."""
    product = Product(folder, tmp_path)
    height, width = product.expected["grid"].shape[1:]
    grid = product.ask(product.box(slice(0, height), slice(0, width)), mode="grid")
    np.testing.assert_allclose(grid, product.expected["grid"], rtol=0, atol=1e-6)
    first, last, left, right = map(int, product.array("window"))
    window = product.box(slice(first, last), slice(left, right))
    mean = product.ask(window, mode="pooled", pooling="mean")
    np.testing.assert_allclose(mean, product.expected["window_mean"], rtol=0, atol=1e-6)
    unit = product.ask(window, mode="pooled")
    np.testing.assert_allclose(unit, product.expected["window_mean_unit"], rtol=0, atol=1e-6)
    lon, lat = map(float, product.array("point_lonlat"))
    half = product.grid.transform[0] / 2
    point = {"type": "PointBuffer", "lon": lon, "lat": lat, "buffer_m": half}
    np.testing.assert_allclose(
        product.ask(point, mode="grid")[:, 0, 0], product.expected["point"], rtol=0, atol=1e-6
    )
