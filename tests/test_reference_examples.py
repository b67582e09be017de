"""Calls as other tools' documentation writes them: only the import is another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from geobento import (
    BBox,
    FetchSpec,
    InputPrepSpec,
    OutputSpec,
    PointBuffer,
    SensorSpec,
    TemporalSpec,
    get_embedding,
    get_embeddings_batch,
)
from geobento.schemas.errors import ModelError, ModelNotFound, NoImageryError
from inference.importing import import_model
from models.base import Model
from models.registry import get_model_class
from models.weights.stored_model import StoredModel
from tests.models import small

SUMMER = TemporalSpec.range("2022-06-01", "2022-09-01")
REGION = PointBuffer(lon=121.5, lat=31.2, buffer_m=2048)
FINISHED = ("gse",)
SERVED = ("mosaiks", "anysat", "dofa", "thor", "remoteclip", "satmaepp", "galileo")


@pytest.fixture(autouse=True)
def served(
    demo_archive: Path, mosaiks_stored: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small models in the store, and Earth Engine's part played by the demo archive."""
    learned = [small.stored(get_model_class(name)).tag for name in SERVED if name != "mosaiks"]
    tags = [mosaiks_stored.tag, *learned, *(import_model(name).tag for name in FINISHED)]
    monkeypatch.setenv("GEOBENTO_MODELS", ",".join(tags))
    monkeypatch.setenv("GEOBENTO_DEMO_ONLY", "on")
    monkeypatch.delenv("GEOBENTO_URL", raising=False)


def width(name: str) -> int:
    """Length of the vectors of a small model."""
    cls: type[Model] = get_model_class(name)
    return cls(small.config(cls)).dim


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("remoteclip_s2rgb", {}),
        ("REMOTECLIP", {}),
        ("dofa", {}),
        ("anysat", {"input_prep": "tile"}),
        ("thor_1_0_base", {}),
        ("satmaepp", {}),
        ("galileo", {"input_prep": "tile"}),
    ],
)
@pytest.mark.parametrize("backend", ["gee", "auto"])
def test_a_vector(name: str, options: dict[str, Any], backend: Any) -> None:
    """The shortest call there is, for every model that the documentation names."""
    result = get_embedding(
        name,
        spatial=REGION,
        temporal=SUMMER,
        output=OutputSpec.pooled(),
        backend=backend,
        device="auto",
        **options,
    )
    assert result.data.shape == (width(name),)
    assert result.meta.model == get_model_class(name).card.id
    assert (result.meta.backend, result.meta.type) == ("demo", "on_the_fly")
    assert "synthetic" in (result.meta.notice or "")


def test_a_precomputed_product() -> None:
    """Asked for like any other model, for a year."""
    result = get_embedding(
        "gse",
        spatial=PointBuffer(121.5, 31.2, 2048),
        temporal=TemporalSpec.year(2022),
        output=OutputSpec.pooled(),
        backend="auto",
    )
    assert result.data.shape == (64,)
    assert (result.meta.type, result.meta.normalized) == ("precomputed", True)
    with pytest.raises(NoImageryError, match="2021"):
        get_embedding("gse", spatial=REGION, temporal=TemporalSpec.year(2021))


def test_several_points() -> None:
    """Positional regions, one call, the same order."""
    spatials = [PointBuffer(121.5, 31.2, 2048), PointBuffer(120.5, 30.2, 2048)]
    both = get_embeddings_batch(
        "remoteclip_s2rgb",
        spatials=spatials,
        temporal=SUMMER,
        output=OutputSpec.pooled(),
        backend="gee",
    )
    alone = get_embedding("remoteclip_s2rgb", spatial=spatials[1], temporal=SUMMER)
    np.testing.assert_allclose(both[1].data, alone.data, atol=1e-5)
    assert np.abs(both[0].data - both[1].data).max() > 1e-4


def test_grids_and_maxima() -> None:
    """Other outputs, a box, a year."""
    box = BBox(minlon=121.49, minlat=31.19, maxlon=121.51, maxlat=31.21)
    year = TemporalSpec.year(2022)
    grid = get_embedding("dofa", spatial=box, temporal=year, output=OutputSpec.grid())
    assert grid.data.ndim == 3
    assert grid.to_xarray().dims[1:] == ("y", "x")
    top = get_embedding("dofa", spatial=box, temporal=year, output=OutputSpec.pooled("max"))
    np.testing.assert_allclose(top.data, grid.data.max(axis=(1, 2)), atol=1e-5)


def test_other_sensors_and_settings() -> None:
    """A custom sensor, single settings of the default one, a modality by another name."""
    bands = SensorSpec(
        collection="COPERNICUS/S2_SR_HARMONIZED", bands=("B2", "B3", "B4", "B8"), scale_m=10
    )
    four = get_embedding("dofa", spatial=REGION, temporal=SUMMER, sensor=bands)
    assert four.meta.sensor == bands
    coarse = get_embedding("dofa", spatial=REGION, temporal=SUMMER, fetch=FetchSpec(scale_m=20))
    assert coarse.meta.pixels is not None
    assert coarse.meta.pixels.transform[0] == 20
    radar = get_embedding("thor", spatial=REGION, temporal=SUMMER, modality="sentinel-1")
    assert radar.meta.modality == "s1"
    with pytest.raises(ModelError, match="one of the two"):
        get_embedding(
            "dofa", spatial=REGION, temporal=SUMMER, sensor=bands, fetch=FetchSpec(scale_m=20)
        )


def test_large_regions_in_tiles() -> None:
    """The words for the preparation, and the record for its details."""
    tiles = get_embedding("remoteclip", spatial=REGION, temporal=SUMMER, input_prep="tile")
    assert tiles.meta.input_prep == "tile"
    detailed = InputPrepSpec(mode="tile", tile_size=128)
    finer = get_embedding("remoteclip", spatial=REGION, temporal=SUMMER, input_prep=detailed)
    assert finer.meta.tiles is not None
    assert finer.meta.tiles.size == 128


def test_a_model_that_is_not_there() -> None:
    """The message says how to import it, or what is known."""
    with pytest.raises(ModelNotFound, match="geobento models import dino_v2_vits14"):
        get_embedding("dino_v2_vits14", spatial=REGION, temporal=SUMMER)
    with pytest.raises(ModelNotFound, match="dofa"):
        get_embedding("doffa", spatial=REGION, temporal=SUMMER)
