"""Real regions, over HTTP: every model whose sensor is there, and what trained weights know."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest

pytest.importorskip("transformers")

from inference.importing import import_model
from models.base import Model
from models.registry import get_model_class
from tests.models import small
from tests.pipeline.test_galileo import ARCHIVE, WEIGHTS, windows
from tests.servers import serving
from tests.test_service_regions import OF_PLACES, VARIANTS, ask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ARCHIVE.is_file() and WEIGHTS.is_file()), reason="no archive or weights"
    ),
]

HELD = ("COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S2_HARMONIZED", "COPERNICUS/S1_GRD_FLOAT")
READ = [
    (cls, name)
    for cls in OF_PLACES
    for name, spec in cls.card.modalities.items()
    if spec.sensor.collection in HELD
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The service over the archive, with trained weights of Galileo and small other models."""
    config = WEIGHTS.with_name("config.json")
    tags = [import_model("galileo_nano", checkpoint=WEIGHTS, config=config).tag]
    named = {cls.card.id for cls, _ in READ} - {"galileo", "satmaepp", "mosaiks"}
    tags += [
        import_model("mosaiks").tag,
        *(small.stored(get_model_class(name)).tag for name in named),
    ]
    tags += [small.stored(get_model_class(name), variant=variant).tag for name, variant in VARIANTS]
    log = tmp_path_factory.mktemp("archive") / "log"
    with serving(log, GEOBENTO_MODELS=",".join(tags), GEOBENTO_STAC=str(ARCHIVE)) as started:
        yield started


@pytest.mark.parametrize(
    ("cls", "modality"), READ, ids=[f"{cls.card.id}-{name}" for cls, name in READ]
)
def test_vectors_and_grids(service: httpx.Client, cls: type[Model], modality: str) -> None:
    """Both forms, from scenes that the answer names."""
    pooled, grid = (
        ask(service, cls.card.id, modality=modality, output={"mode": mode})
        for mode in ("pooled", "grid")
    )
    assert (pooled.meta.backend, pooled.meta.modality) == ("stac", modality)
    assert pooled.meta.scenes
    assert pooled.data.shape == (pooled.meta.dim,)
    assert grid.data.shape[0] == grid.meta.dim


def test_trained_weights_know_regions_again(service: httpx.Client) -> None:
    """Windows that overlap are nearer to each other than to any of another region."""
    names, vectors = [], []
    for name, request in windows():
        answer = ask(service, request.pop("model"), **request)
        names.append(name)
        vectors.append(answer.data / np.linalg.norm(answer.data))
    cosines = np.stack(vectors) @ np.stack(vectors).T
    same = np.asarray(names)[:, None] == np.asarray(names)
    assert len(set(names)) == 5
    assert cosines[same].min() > cosines[~same].max()
