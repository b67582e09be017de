"""Grids of vectors on a map."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401 - gives xarray its accessor
import pytest
import rasterio

from geobento.schemas.embedding import Embedding, EmbeddingMeta
from geobento.schemas.errors import MissingExtra, SpecError

META = EmbeddingMeta(
    model="mosaiks",
    tag="mosaiks:0",
    variant="gaussian",
    weights="seeded",
    modality="s2",
    pooling="grid",
    normalized=False,
    precision="float32",
    preprocessing="0",
    type="on_the_fly",
    dim=5,
    cls_removed=False,
    grid_hw=(2, 3),
    crs="EPSG:32736",
    transform=(165.0, 0.0, 617_430.0, 0.0, -160.0, 9_625_010.0),
)
DATA = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
EMBEDDING = Embedding(DATA, META)


def test_an_array_with_coordinates() -> None:
    """Named axes, centres of cells, and a CRS that other libraries find."""
    array = EMBEDDING.to_xarray()
    assert array.dims == ("band", "y", "x")
    assert array.name == "mosaiks"
    assert array.x.values.tolist() == [617_512.5, 617_677.5, 617_842.5]
    assert array.y.values.tolist() == [9_624_930, 9_624_770]
    assert array.band.values.tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(array.values, DATA)
    assert array.odc.crs == "EPSG:32736"
    assert META.grid is not None
    assert array.odc.geobox.affine[:6] == META.grid.transform
    assert EmbeddingMeta.model_validate_json(array.attrs["meta"]) == META


def test_a_geotiff(tmp_path: Path) -> None:
    """A file that any program for maps reads: numbers, region, CRS, metadata."""
    path = tmp_path / "grid.tif"
    EMBEDDING.to_geotiff(path)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), DATA)
        assert file.crs == "EPSG:32736"
        assert META.grid is not None
        assert file.transform[:6] == META.grid.transform
        assert file.xy(0, 0) == (617_512.5, 9_624_930)
        assert set(file.dtypes) == {"float32"}
        assert EmbeddingMeta.model_validate_json(file.tags()["GEOBENTO_META"]) == META


def test_a_vector_lies_nowhere(tmp_path: Path) -> None:
    """The error says how to ask for what can be put on a map."""
    vector = Embedding(DATA[:, 0, 0], META.model_copy(update={"grid": None}))
    for make in (vector.to_xarray, lambda: vector.to_geotiff(tmp_path / "no.tif")):
        with pytest.raises(SpecError, match=r"OutputSpec\.grid\(\)") as caught:
            make()
        assert caught.value.field == "output"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["xarray", "rasterio"])
def test_missing_package_is_named(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The light client lacks both packages; the error says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    writers: dict[str, Callable[[], object]] = {
        "xarray": EMBEDDING.to_xarray,
        "rasterio": lambda: EMBEDDING.to_geotiff(tmp_path / "grid.tif"),
    }
    with pytest.raises(MissingExtra, match=f"needs {package}.*pip install rasterio xarray"):
        writers[package]()
