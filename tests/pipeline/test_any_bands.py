"""Models that read satellite imagery, from a region to vectors, on the demo archive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from geobento.config.settings import Settings
from geobento.schemas.embedding import Embedding
from geobento.schemas.requests import GeoEmbeddingRequest
from models.base import Model
from models.registry import get_model_class
from pipeline.local_engine import LocalEngine
from tests.models import small

REGION = {"type": "PointBuffer", "lon": 34.066, "lat": -3.401, "buffer_m": 300}
JUNE = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}
L2A = "COPERNICUS/S2_SR_HARMONIZED"


def embedding(cls: type[Model], **fields: Any) -> Embedding:
    """The answer of a small model of a family."""
    engine = LocalEngine(Settings(models=(small.stored(cls).tag,)))
    request = {"model": cls.card.id, "spatial": REGION, "temporal": JUNE} | fields
    (answer,) = engine.geo_embedding(GeoEmbeddingRequest.model_validate(request))
    assert isinstance(answer, Embedding), answer
    assert np.isfinite(answer.data).all()
    return answer


@pytest.mark.parametrize(
    ("model", "fields", "cells"),
    [
        ("dofa", {}, 2),
        ("dofa", {"modality": "s1"}, 2),
        ("dofa", {"sensor": {"collection": L2A, "bands": ["B8", "B4"]}}, 2),
        ("thor", {}, 8),
        ("thor", {"modality": "s1"}, 8),
        ("thor", {"sensor": {"collection": L2A, "bands": ["B8", "B4"]}}, 8),
        ("thor", {"model_config": {"patch_size": 16}}, 4),
    ],
)
@pytest.mark.usefixtures("demo_archive")
def test_pooled_and_grid(model: str, fields: dict[str, Any], cells: int) -> None:
    """Every modality and choice of bands gives one vector, and a grid over the whole region."""
    cls = get_model_class(model)
    pooled = embedding(cls, **fields)
    grid = embedding(cls, output={"mode": "grid"}, **fields)
    assert pooled.data.shape == (small.config(cls)["embed_dim"],)
    assert grid.data.shape == (*pooled.data.shape, cells, cells)
    assert grid.meta.grid is not None
    assert pooled.meta.pixels is not None
    region = pooled.meta.pixels
    np.testing.assert_allclose(
        grid.meta.grid.transform[0] * cells, region.transform[0] * region.width
    )
    assert pooled.meta.config == grid.meta.config == fields.get("model_config", {})


@pytest.mark.usefixtures("demo_archive")
def test_bands_that_the_request_describes() -> None:
    """DOFA reads bands without statistics of its own, at the wavelengths of the request."""
    request = {"sensor": {"collection": L2A, "bands": ["B1", "B9"]}}
    numbers = {"mean": [1500, 3000], "std": [1000, 1000]}
    near, far = (
        embedding(
            get_model_class("dofa"),
            **request,
            model_config=numbers | {"wavelengths_um": wavelengths},
        )
        for wavelengths in ([0.443, 0.945], [0.443, 10.0])
    )
    assert not np.allclose(near.data, far.data, atol=1e-3)
