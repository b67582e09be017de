"""Regions over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import TypeAdapter
from pyproj import Transformer

from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError
from geobento.schemas.geometry import Area, Spatial
from geobento.schemas.sample import PixelGrid
from imagery import cell_fractions
from models.mosaiks.model import Mosaiks
from tests.service_requests import JUNE, REGION, error, geo, vectors

S2_BANDS = Mosaiks.card.modalities["s2"].sensor.bands

FIELD = {
    "type": "Feature",
    "properties": {"crop": "maize"},
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[34.06, -3.41], [34.07, -3.41], [34.06, -3.395], [34.06, -3.41]]],
    },
}

SAVING = {
    "collection": "COPERNICUS/S2_SR_HARMONIZED",
    "bands": list(S2_BANDS),
    "check_input": True,
    "check_save_dir": "/tmp",
}


def test_a_region_gives_a_vector_that_says_what_it_is_made_of(client: httpx.Client) -> None:
    """The README's request: 1024 finite numbers, from imagery that is called synthetic."""
    (answer,) = vectors(geo(client))
    assert isinstance(answer, Embedding)
    assert answer.data.shape == (1024,)
    assert np.isfinite(answer.data).all()
    assert answer.data.any()
    meta = answer.meta
    assert (meta.model, meta.type, meta.variant, meta.dim) == (
        "mosaiks",
        "on_the_fly",
        "gaussian",
        1024,
    )
    assert len(meta.weights) == 64
    assert meta.backend == "demo"
    assert meta.notice is not None
    assert "synthetic" in meta.notice
    assert meta.scenes
    assert all(scene.time.startswith("2023-06") for scene in meta.scenes)
    assert meta.sensor is not None
    assert meta.temporal is not None
    assert (meta.temporal.start, meta.temporal.end) == (
        "2023-06-01T00:00:00Z",
        "2023-07-01T00:00:00Z",
    )
    assert meta.pixels is not None
    assert (meta.pixels.height, meta.pixels.width) == (200, 200)
    assert meta.image_size == (200, 200)
    assert (meta.crs, meta.transform) == (meta.pixels.crs, meta.pixels.transform)
    assert (meta.grid_hw, meta.input_prep, meta.cls_removed) == (None, "resize", False)
    assert meta.footprint is not None
    assert meta.footprint[0] == meta.footprint[-1]
    middle = np.mean(meta.footprint[:4], axis=0)
    np.testing.assert_allclose(middle, [34.066, -3.401], atol=1e-4)
    assert set(meta.timing_ms) == {"fetch", "prepare", "encode"}
    assert meta.timing_ms["encode"] > 0


def test_the_same_request_twice_gives_the_same_vector(client: httpx.Client) -> None:
    """Nothing random is left between a region and its vector."""
    (first,), (second,) = vectors(geo(client)), vectors(geo(client))
    assert isinstance(first, Embedding)
    assert isinstance(second, Embedding)
    np.testing.assert_array_equal(first.data, second.data)
    assert first.meta.without_timing() == second.meta.without_timing()


def test_a_grid_lies_inside_the_region_and_its_mean_is_the_vector(client: httpx.Client) -> None:
    """Grid and vector are the same features; the grid's transform stays within the square."""
    (grid,) = vectors(geo(client, output={"mode": "grid"}, encoding="base64"))
    (pooled,) = vectors(geo(client))
    assert isinstance(grid, Embedding)
    assert isinstance(pooled, Embedding)
    assert grid.meta.grid is not None
    assert grid.meta.pixels is not None
    assert grid.data.shape == (1024, grid.meta.grid.height, grid.meta.grid.width)
    assert grid.meta.grid.crs == "EPSG:32736"
    np.testing.assert_allclose(grid.data.mean(axis=(1, 2)), pooled.data, atol=1e-6)
    left, bottom, right, top = _bounds(grid.meta.grid)
    west, south, east, north = _bounds(grid.meta.pixels)
    assert west <= left < right <= east
    assert south <= bottom < top <= north


def _bounds(grid: Any) -> tuple[float, float, float, float]:
    a, _, left, _, e, top = grid.transform
    return left, top + e * grid.height, left + a * grid.width, top


def test_several_regions_are_answered_in_order(client: httpx.Client) -> None:
    """A region without imagery is an error of its own between its neighbours."""
    elsewhere = {**REGION, "lon": 0.0, "lat": 0.0}
    answer = geo(client, spatial=None, spatials=[REGION, elsewhere, REGION])
    first, nothing, last = vectors(answer)
    assert isinstance(nothing, GeoBentoError)
    assert nothing.type == "no_imagery"
    np.testing.assert_array_equal(first.data, last.data)  # type: ignore[union-attr]


def test_a_polygon_gives_the_mean_of_the_grid_inside(client: httpx.Client) -> None:
    """A vector counts what lies in the polygon, also where the region is cut into tiles."""
    prep = {"mode": "tile", "tile_size": 64, "tile_stride": 48}
    (whole,) = vectors(geo(client, spatial=FIELD, encoding="base64"))
    (tiled,) = vectors(geo(client, spatial=FIELD, encoding="base64", input_prep=prep))
    (everything,) = vectors(geo(client, spatial=FIELD, output={"mode": "grid"}, encoding="base64"))
    assert isinstance(whole, Embedding)
    assert isinstance(tiled, Embedding)
    assert isinstance(everything, Embedding)
    assert everything.meta.grid is not None
    region: Area = TypeAdapter(Spatial).validate_python(FIELD)  # type: ignore[assignment]
    grid = PixelGrid(**everything.meta.grid.model_dump())
    expected = everything.data.reshape(1024, -1) @ cell_fractions.area_weights(region, grid)
    np.testing.assert_allclose(whole.data, expected, atol=1e-5)
    assert np.abs(whole.data - everything.data.mean(axis=(1, 2))).max() > 1e-3
    assert tiled.meta.tiles is not None
    cosine = whole.data @ tiled.data / np.linalg.norm(whole.data) / np.linalg.norm(tiled.data)
    assert cosine > 0.999


def test_a_region_in_another_reference_system(client: httpx.Client) -> None:
    """The same square, asked for in web Mercator, is the same pixels."""
    x, y = Transformer.from_crs(4326, 3857, always_xy=True).transform(34.066, -3.401)
    other = {**REGION, "lon": x, "lat": y, "crs": "EPSG:3857"}
    here, there = vectors(geo(client, spatial=None, spatials=[REGION, other]))
    np.testing.assert_array_equal(here.data, there.data)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "status", "kind", "field"),
    [
        ({"model": "nope"}, 404, "model_not_found", "model"),
        ({"spatial": {**REGION, "buffer_m": 0}}, 400, "spec_error", "spatial.buffer_m"),
        ({"spatial": {**REGION, "lat": 95}}, 400, "spec_error", "spatial.lat"),
        ({"spatial": {**REGION, "type": "Circle"}}, 400, "spec_error", "spatial"),
        ({"spatial": {**REGION, "buffer_m": 100_000}}, 413, "payload_too_large", "spatial"),
        ({"spatial": {**REGION, "buffer_m": 6}}, 400, "model_error", "spatial"),
        ({"spatial": {**REGION, "lat": 89}}, 400, "spec_error", "spatial"),
        ({"spatial": {**REGION, "crs": "EPSG:1"}}, 400, "spec_error", "spatial.crs"),
        ({"spatial": {**FIELD, "geometry": None}}, 400, "spec_error", "spatial.geometry"),
        ({"spatial": None}, 400, "invalid_request", None),
        ({"spatials": []}, 400, "spec_error", "spatials"),
        ({"temporal": {**JUNE, "end": "2023-05-01"}}, 400, "spec_error", "temporal"),
        ({"temporal": {**JUNE, "start": "June"}}, 400, "spec_error", "temporal.start"),
        ({"temporal": None}, 400, "model_error", "temporal"),
        ({"temporal": {"mode": "year", "year": 1999}}, 422, "no_imagery", None),
        ({"modality": "s1"}, 400, "model_error", "modality"),
        ({"backend": "gee"}, 400, "invalid_request", "backend"),
        ({"device": "cuda"}, 400, "model_error", "device"),
        ({"model_config": {"variant": "x"}}, 400, "model_error", "model_config.variant"),
        ({"input_prep": "tile"}, 400, "model_error", "input_prep.tile_size"),
        ({"sensor": SAVING}, 400, "spec_error", "sensor.check_save_dir"),
        ({"fetch": {"composite": "blend"}}, 400, "spec_error", "fetch.composite"),
        ({"output": {"mode": "cube"}}, 400, "spec_error", "output"),
        ({"colour": "red"}, 400, "invalid_request", "colour"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_request_that_cannot_be_answered(
    client: httpx.Client, fields: dict[str, Any], status: int, kind: str, field: str | None
) -> None:
    """Every kind of bad input is a 4xx in the one error shape, naming the field at fault."""
    assert error(geo(client, **fields), status, kind)["field"] == field
