"""Regions through a precomputed product, on the demo archive."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from geobento.config.settings import Settings
from geobento.schemas import serialization
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError, ModelError, NoImageryError, PayloadTooLarge
from geobento.schemas.requests import GeoEmbeddingRequest, InspectRequest, PixelEmbeddingRequest
from imagery.demo.regions import DEMO_REGIONS
from inference.importing import import_model
from models.gse.model import Gse
from pipeline.local_engine import LocalEngine

BANDS = Gse.card.modalities["annual"].sensor.bands

SAVANNA = DEMO_REGIONS[0]
YEAR = {"mode": "year", "year": SAVANNA.year}
GRID = {"mode": "grid"}


def square(buffer_m: float, east: float = 0.0) -> dict[str, Any]:
    """A square around the savanna, or east of it."""
    return {"type": "PointBuffer", "lon": SAVANNA.lon + east, "lat": SAVANNA.lat} | {
        "buffer_m": buffer_m
    }


@pytest.fixture(scope="module")
def engine(demo_archive: Path) -> LocalEngine:
    """The product alone."""
    return LocalEngine(Settings(models=(import_model("gse").tag,)))


def request(**fields: Any) -> GeoEmbeddingRequest:
    """A year of a square, unless `fields` say otherwise."""
    requested = {"model": "gse", "temporal": YEAR, "spatial": square(300)} | fields
    return GeoEmbeddingRequest.model_validate(requested)


def ask(engine: LocalEngine, **fields: Any) -> Embedding:
    """One answer."""
    (result,) = engine.geo_embedding(request(**fields))
    assert isinstance(result, Embedding)
    return result


def mean_of(grid: Any) -> Any:
    """The mean of the cells that are there, of unit length."""
    mean = np.nanmean(grid.reshape(len(grid), -1).astype(np.float64), axis=1)
    return mean / np.linalg.norm(mean)


def test_a_vector_is_the_mean_of_the_grid_at_unit_length(engine: LocalEngine) -> None:
    """A cell per pixel, where the pixels lie; the plain mean is shorter."""
    vector, grid = ask(engine), ask(engine, output=GRID)
    assert grid.data.shape == (64, 60, 60)
    assert grid.meta.grid == grid.meta.pixels
    np.testing.assert_allclose(np.linalg.norm(grid.data, axis=0), 1, atol=0.01)
    assert grid.data.std(axis=(1, 2)).max() > 0.01
    np.testing.assert_allclose(vector.data, mean_of(grid.data), atol=1e-6)
    assert (vector.meta.type, vector.meta.pooling, vector.meta.normalized) == (
        "precomputed", "native", True,
    )  # fmt: skip
    plain = ask(engine, output={"mode": "pooled", "pooling": "mean"})
    assert not plain.meta.normalized
    np.testing.assert_allclose(plain.data, grid.data.mean(axis=(1, 2)), atol=1e-6)
    assert np.linalg.norm(plain.data) < 1


def test_a_window_stands_for_its_year(engine: LocalEngine) -> None:
    """A month, and a year to its last instant, are answered with the year; two are refused."""
    whole = ask(engine)
    for start, end in (("2023-06-01", "2023-07-01"), ("2023-01-01", "2024-01-01")):
        part = ask(engine, temporal={"mode": "range", "start": start, "end": end})
        assert part.data.tobytes() == whole.data.tobytes()
        assert part.meta.temporal is not None
        assert part.meta.temporal.start == "2023-01-01T00:00:00Z"
        assert part.meta.temporal.end == "2024-01-01T00:00:00Z"
    across = {"mode": "range", "start": "2022-12-01", "end": "2023-06-01"}
    with pytest.raises(ModelError, match="lies in several") as caught:
        ask(engine, temporal=across)
    assert caught.value.field == "temporal"
    with pytest.raises(NoImageryError, match="2023-01-01"):
        ask(engine, temporal={"mode": "year", "year": 2022})


def test_cells_without_a_vector(engine: LocalEngine) -> None:
    """Beyond the edge they are NaN in every encoding, and no part of a mean."""
    beyond = square(300, east=0.0115)
    grid = ask(engine, spatial=beyond, output=GRID)
    gaps = np.isnan(grid.data).all(axis=0)
    assert 0.2 < gaps.mean() < 0.8
    assert grid.meta.valid_fraction == pytest.approx(1 - gaps.mean(), abs=1e-6)
    vector = ask(engine, spatial=beyond)
    np.testing.assert_allclose(vector.data, mean_of(grid.data), atol=1e-6)
    for encoding in ("float", "base64"):
        body = serialization.encode_embeddings("gse", 64, [grid], encoding)
        assert (b"null,null" in body) == (encoding == "float")
        (read,) = serialization.decode_embeddings(body)
        assert isinstance(read, Embedding)
        np.testing.assert_array_equal(read.data, grid.data)


def test_a_polygon_counts_what_is_inside(engine: LocalEngine) -> None:
    """Cells by the area inside; also where only a part of them has a vector."""
    west, south, size = SAVANNA.lon, SAVANNA.lat, 0.002
    corners = [[west, south], [west + size, south], [west, south + size], [west, south]]
    triangle = {"type": "Polygon", "coordinates": [corners]}
    box = {
        "type": "BBox", "minlon": west, "minlat": south, "maxlon": west + size,
        "maxlat": south + size,
    }  # fmt: skip
    inside, around = ask(engine, spatial=triangle), ask(engine, spatial=box)
    assert np.linalg.norm(inside.data) == pytest.approx(1, abs=1e-6)
    assert 1e-3 < np.abs(inside.data - around.data).max() < 0.3
    across = [[x + 0.0105, y] for x, y in corners]
    beyond = ask(engine, spatial={"type": "Polygon", "coordinates": [across]})
    assert 0.3 < (beyond.meta.valid_fraction or 0) < 0.8
    assert np.linalg.norm(beyond.data) == pytest.approx(1, abs=1e-6)


def test_tiles_change_nothing(engine: LocalEngine) -> None:
    """There is no input size to cut for; tiles of any size give the same."""
    whole = ask(engine)
    assert ask(engine, input_prep="auto").data.tobytes() == whole.data.tobytes()
    with pytest.raises(ModelError, match="whole"):
        ask(engine, input_prep="tile")
    tiles = {"mode": "tile", "tile_size": 17}
    np.testing.assert_allclose(ask(engine, input_prep=tiles).data, whole.data, atol=1e-6)
    grid = ask(engine, output=GRID, input_prep=tiles)
    assert grid.data.tobytes() == ask(engine, output=GRID).data.tobytes()


def test_large_regions_are_refused(engine: LocalEngine) -> None:
    """64 numbers for every pixel: fewer pixels than of other imagery; coarser ones help."""
    with pytest.raises(PayloadTooLarge, match="262,144"):
        ask(engine, spatial=square(2600))
    coarse = ask(engine, spatial=square(2600), fetch={"scale_m": 20}, output=GRID)
    lengths = np.linalg.norm(coarse.data, axis=0)
    np.testing.assert_allclose(lengths[np.isfinite(lengths)], 1, atol=0.011)


def test_plan_and_inspection(engine: LocalEngine) -> None:
    """The plan and the inspection know the product."""
    plan = engine.plan_embedding(request())
    (region,) = plan.regions
    assert not isinstance(region, GeoBentoError)
    assert plan.temporal.end == "2024-01-01T00:00:00Z"
    assert [fit.model for fit in plan.models if fit.compatible] == ["gse"]
    requested = {"model": "alphaearth", "spatial": square(300), "temporal": YEAR}
    seen = engine.inspect_patch(InspectRequest.model_validate(requested))
    assert [band.band for band in seen.bands] == list(BANDS)
    assert seen.units == "components of unit vectors"
    assert seen.warnings == []


def test_only_the_cpu_and_any_source(engine: LocalEngine) -> None:
    """`auto` is enough; a source may be named as well."""
    assert ask(engine, backend="demo", device="cpu").meta.backend == "demo"
    assert "synthetic" in (ask(engine, backend="auto", device="auto").meta.notice or "")
    with pytest.raises(ModelError, match="'cpu'"):
        ask(engine, device="cuda")


def own(pixels: NDArray[np.float32]) -> PixelEmbeddingRequest:
    """A request with user-supplied pixels."""
    file = io.BytesIO()
    np.save(file, pixels)
    return PixelEmbeddingRequest(
        model="gse", pixels=file.getvalue(), bands=BANDS, units="components of unit vectors"
    )


def test_user_supplied_vectors(engine: LocalEngine) -> None:
    """A piece of the product that is there already; its stored numbers are no vectors."""
    grid = ask(engine, output=GRID).data[:, :5, :7].copy()
    grid[:, 0, 0] = np.nan
    (result,) = engine.pixel_embedding(own(grid))
    assert isinstance(result, Embedding)
    np.testing.assert_allclose(result.data, mean_of(grid), atol=1e-6)
    assert result.meta.normalized
    with pytest.raises(GeoBentoError, match="-1 to 1"):
        engine.pixel_embedding(own(np.round(127 * grid)))
