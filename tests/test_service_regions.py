"""Every model that reads regions, over HTTP, on the demo archive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("transformers")

from geobento.schemas import serialization
from geobento.schemas.embedding import Embedding
from inference.importing import import_model
from models.base import Model
from models.registry import get_model_class, list_model_classes
from tests.models import small
from tests.servers import serving

pytestmark = pytest.mark.slow

REGION = {"type": "PointBuffer", "lon": 34.066, "lat": -3.401, "buffer_m": 240}
JUNE = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}

OF_PLACES = [cls for cls in list_model_classes() if cls.card.modalities]
VARIANTS = [("satmaepp", "rgb_vit_large"), ("satmaepp", "s2_10b")]
"""Variants that are served beside each other."""


@pytest.fixture(scope="module")
def service(
    demo_archive: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """The service with a small model of every family that reads regions."""
    tags = [import_model(name).tag for name in ("mosaiks", "gse")]
    others = [cls for cls in OF_PLACES if cls.card.id not in ("mosaiks", "gse", "satmaepp")]
    tags += [small.stored(cls).tag for cls in others]
    tags += [small.stored(get_model_class(name), variant=variant).tag for name, variant in VARIANTS]
    log = tmp_path_factory.mktemp("places") / "log"
    with serving(log, GEOBENTO_MODELS=",".join(tags)) as started:
        yield started


def ask(service: httpx.Client, model: str, **fields: Any) -> Embedding:
    """One answer."""
    request = {"model": model, "spatial": REGION, "temporal": JUNE} | fields
    response = service.post("/geo_embedding", json=request)
    assert response.status_code == 200, response.text
    (answer,) = serialization.decode_embeddings(response.content)
    assert isinstance(answer, Embedding)
    assert np.isfinite(answer.data).all()
    return answer


@pytest.mark.parametrize("cls", OF_PLACES, ids=lambda cls: cls.card.id)
def test_vectors_and_grids(service: httpx.Client, cls: type[Model]) -> None:
    """Both forms of the default sensor, under the id and all aliases that are served."""
    card = cls.card
    pooled = ask(service, card.id)
    assert pooled.meta.model == card.id
    assert pooled.data.shape == (pooled.meta.dim,)
    assert pooled.meta.backend == "demo"
    assert pooled.meta.modality == (card.default_modality or next(iter(card.modalities)))
    if "grid" in card.outputs:
        grid = ask(service, card.id, output={"mode": "grid"})
        assert grid.data.shape[0] == grid.meta.dim
        assert grid.meta.grid is not None
        assert grid.data.shape[1:] == (grid.meta.grid.height, grid.meta.grid.width)
    served = {each["variant"] for each in models(service) if each["card"]["id"] == card.id}
    for alias in card.aliases:
        if served & set(card.variants_of(alias)):
            assert ask(service, alias.upper()).meta.model == card.id


def models(service: httpx.Client) -> list[dict[str, Any]]:
    """What the service says it serves."""
    listed: list[dict[str, Any]] = service.get("/models").json()["models"]
    return listed


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_variants_beside_each_other(service: httpx.Client, name: str, variant: str) -> None:
    """Each is found by the option, and reads what it is made for."""
    answer = ask(service, name, model_config={"variant": variant})
    assert answer.meta.variant == variant
    result = ask(service, name, modality=answer.meta.modality)
    assert (result.meta.tag, result.meta.dim) == (answer.meta.tag, answer.meta.dim)
    np.testing.assert_allclose(result.data, answer.data, atol=1e-5)


def test_a_variant_that_is_not_served(service: httpx.Client) -> None:
    """400, the option, and how to import it."""
    request = {"model": "dofa", "spatial": REGION, "temporal": JUNE}
    response = service.post("/geo_embedding", json=request | {"model_config": {"variant": "large"}})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["field"] == "model_config.variant"
    assert "geobento models import dofa --variant large" in error["message"]
