"""Regions through Galileo: options of a request, and what its trained weights tell apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from geobento.config.settings import Settings
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError, ModelError
from geobento.schemas.requests import GeoEmbeddingRequest
from inference.importing import import_model
from models.galileo.card import S2_BANDS
from models.galileo.model import Galileo
from pipeline.local_engine import LocalEngine
from tests.conftest import SHARED
from tests.models import small

ARCHIVE = SHARED / "archive" / "catalog.json"
WEIGHTS = SHARED / "weights" / "galileo_nano" / "encoder.pt"


@pytest.fixture(scope="module")
def engine(demo_archive: Path) -> LocalEngine:
    """A small Galileo over the demo archive, which lies where the settings look for it."""
    return LocalEngine(Settings(models=(small.stored(Galileo).tag,)))


def ask(engine: LocalEngine, **request: Any) -> Embedding | GeoBentoError:
    """One region of the demo archive, in June."""
    requested = {
        "model": "galileo",
        "spatial": {"type": "PointBuffer", "lon": 34.066, "lat": -3.401, "buffer_m": 240},
        "temporal": {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"},
    }
    return engine.geo_embedding(GeoEmbeddingRequest.model_validate(requested | request))[0]


L2A = {"collection": "COPERNICUS/S2_SR_HARMONIZED", "bands": list(S2_BANDS)}


@pytest.mark.parametrize("images", [{"sensor": L2A}, {"modality": "s1"}])
@pytest.mark.parametrize(("options", "cell"), [({}, 40.0), ({"patch_size": 8}, 80.0)])
def test_vectors_and_grids(
    engine: LocalEngine, images: dict[str, Any], options: dict[str, Any], cell: float
) -> None:
    """The patch decides the cells of the grid; the answer says which options it was made with."""
    pooled = ask(engine, **images, model_config=options)
    grid = ask(engine, **images, model_config=options, output={"mode": "grid"})
    assert isinstance(pooled, Embedding)
    assert isinstance(grid, Embedding)
    side = round(480 / cell)
    assert pooled.data.shape == (32,)
    assert grid.data.shape == (32, side, side)
    np.testing.assert_allclose(grid.data.mean(axis=(1, 2)), pooled.data, atol=1e-5)
    assert grid.meta.grid is not None
    assert grid.meta.grid.transform[0] == cell
    assert grid.meta.config == options


def test_options_that_do_not_fit(engine: LocalEngine) -> None:
    """They are rejected, not ignored."""
    with pytest.raises(ModelError) as caught:
        ask(engine, sensor=L2A, model_config={"patch_size": 9})
    assert caught.value.field == "model_config.patch_size"


YEAR = {"mode": "year", "year": 2023}


def test_a_year_is_a_series(engine: LocalEngine) -> None:
    """One composite for every 30 days; those without a clear scene are named, and left out."""
    year = ask(engine, temporal=YEAR)
    assert isinstance(year, Embedding)
    frames = year.meta.frames
    assert frames is not None
    assert (frames.requested, frames.filled) == (12, 0)
    assert frames.distinct == len(frames.times) == 12 - len(frames.dropped)
    assert 6 <= frames.distinct < 12
    assert year.meta.warnings == [
        f"{len(frames.dropped)} of 12 parts of the window have no usable pixel of s2; the model "
        f"reads {frames.distinct} frames"
    ]
    whole = ask(engine, temporal=YEAR, model_config={"temporal_mode": "single"})
    assert isinstance(whole, Embedding)
    assert whole.meta.frames is None
    assert whole.meta.scenes == year.meta.scenes
    assert np.abs(whole.data - year.data).max() > 1e-3
    assert whole.meta.dim == year.meta.dim


def test_auxiliary_modalities(engine: LocalEngine) -> None:
    """They change the vector, are named in the answer, and show the same parts of the window."""
    alone = ask(engine, temporal=YEAR)
    both = ask(engine, temporal=YEAR, auxiliary_modalities=["sentinel-1"])
    assert isinstance(alone, Embedding)
    assert isinstance(both, Embedding)
    assert np.abs(alone.data - both.data).max() > 1e-3
    radar = both.meta.auxiliary["s1"]
    assert radar.sensor is not None
    assert radar.sensor.collection == "COPERNICUS/S1_GRD_FLOAT"
    assert radar.pixels == both.meta.pixels
    assert radar.frames is not None
    assert both.meta.frames is not None
    assert radar.frames.dropped == both.meta.frames.dropped


def test_auxiliary_modalities_in_tiles(engine: LocalEngine) -> None:
    """Every tile gets its own part of every modality."""
    request: dict[str, Any] = {"auxiliary_modalities": ["s1"], "output": {"mode": "grid"}}
    prep = {"mode": "tile", "tile_size": 24, "pad_edges": False}
    tiled = ask(engine, **request, input_prep=prep)
    assert isinstance(tiled, Embedding)
    assert tiled.meta.tiles is not None
    assert len(tiled.meta.tiles.rows) == 2
    quarter = {"type": "PointBuffer", "lon": 34.066, "lat": -3.401, "buffer_m": 120}
    region = ask(engine, **request)
    assert isinstance(region, Embedding)
    assert region.data.shape == tiled.data.shape
    assert isinstance(ask(engine, **(request | {"spatial": quarter})), Embedding)


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"auxiliary_modalities": ["s2"]}, "auxiliary_modalities", "twice"),
        ({"auxiliary_modalities": ["s1", "sentinel-1"]}, "auxiliary_modalities", "twice"),
        ({"auxiliary_modalities": ["rgb"]}, "auxiliary_modalities.0", "does not read"),
        ({"model_config": {"n_frames": 25}}, "model_config.n_frames", "1 to 24"),
        ({"model_config": {"temporal_mode": "double"}}, "model_config.temporal_mode", "multi"),
    ],
)
def test_series_that_do_not_fit(
    engine: LocalEngine, fields: dict[str, Any], field: str, message: str
) -> None:
    """They are refused before anything is fetched."""
    with pytest.raises(ModelError, match=message) as caught:
        ask(engine, **fields)
    assert caught.value.field == field


def windows() -> Iterator[tuple[str, dict[str, Any]]]:
    """Overlapping windows of the real regions: their names and requests."""
    for file in sorted(ARCHIVE.parent.glob("sentinel-2-l1c/*/*.json")):
        item = json.loads(file.read_text())
        west, south, east, north = item["bbox"]
        day = datetime.fromisoformat(item["properties"]["datetime"])
        for offset in (0.0, 0.0015):
            spatial = {
                "type": "PointBuffer",
                "lon": (west + east) / 2 + offset,
                "lat": (south + north) / 2 + offset,
                "buffer_m": 320,
            }
            temporal = {
                "mode": "range",
                "start": day.isoformat(),
                "end": (day + timedelta(seconds=1)).isoformat(),
            }
            clouds = {"cloudy_pct": 100}
            yield (
                item["id"],
                {"model": "galileo", "spatial": spatial, "temporal": temporal, "fetch": clouds},
            )


@pytest.mark.slow
@pytest.mark.skipif(not (ARCHIVE.is_file() and WEIGHTS.is_file()), reason="no archive or weights")
def test_trained_weights_know_regions_again() -> None:
    """Windows that overlap are nearer to each other than to any of another region."""
    stored = import_model("galileo", checkpoint=WEIGHTS, config=WEIGHTS.with_name("config.json"))
    assert stored.metadata["variant"] == "nano"
    engine = LocalEngine(Settings(models=(stored.tag,), stac=str(ARCHIVE)))
    names, vectors = [], []
    for name, request in windows():
        answer = engine.geo_embedding(GeoEmbeddingRequest.model_validate(request))[0]
        assert isinstance(answer, Embedding)
        names.append(name)
        vectors.append(answer.data / np.linalg.norm(answer.data))
    cosines: NDArray[Any] = np.stack(vectors) @ np.stack(vectors).T
    same = np.asarray(names)[:, None] == np.asarray(names)
    assert len(names) == 10
    assert cosines[same].min() > cosines[~same].max()
