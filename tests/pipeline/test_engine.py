"""A request's way, with a source that is scripted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest

from geobento.config.settings import Settings
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import (
    GeoBentoError,
    InvalidImage,
    InvalidRequest,
    NoImageryError,
    PayloadTooLarge,
    SourceError,
)
from geobento.schemas.requests import GeoEmbeddingRequest, ImageEmbeddingRequest
from geobento.schemas.sample import Provenance, Sample
from geobento.schemas.specs import PointBuffer, TemporalSpec
from imagery.query import ImageQuery
from imagery.source import FetchEstimate
from inference.loading import load_model
from models.weights.stored_model import StoredModel
from pipeline.engine import Engine
from pipeline.fetching.fetcher import ImageryFetcher
from pipeline.inputs.image_urls import ImageUrlFetcher
from pipeline.model_registry import ModelHandle, ModelRegistry
from tests.conftest import ROOT

FIELD = (ROOT / "tests" / "data" / "field.jpg").read_bytes()


class Scripted:
    """A source that answers with what a function makes of the query."""

    backend = "scripted"

    def __init__(self, answer: Callable[[ImageQuery], Sample]) -> None:
        self._answer = answer

    def fetch(self, query: ImageQuery) -> Sample:
        return self._answer(query)

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        raise NotImplementedError


def noise(query: ImageQuery) -> Sample:
    """Pixels that follow from the region."""
    random = np.random.default_rng(round(query.grid.transform[2]))
    bands = query.sensor.bands
    pixels = random.integers(1, 5000, (len(bands), *query.grid.shape)).astype(np.float32)
    return Sample(
        pixels, bands, query.modality, grid=query.grid, provenance=Provenance("scripted", "noise")
    )


@pytest.fixture
def run(mosaiks_stored: StoredModel) -> Callable[..., list[Embedding | GeoBentoError]]:
    """Runs a geo request for some longitudes through both halves, forward in between."""
    loaded = load_model(mosaiks_stored)
    registry = ModelRegistry(
        [ModelHandle(mosaiks_stored.model(), mosaiks_stored.to_served_model(), "cpu")]
    )

    def go(
        *longitudes: float, answer: Callable[[ImageQuery], Sample] = noise, **settings: object
    ) -> list[Embedding | GeoBentoError]:
        layer = ImageryFetcher({"demo": lambda: Scripted(answer)}, max_threads=4)
        engine = Engine(registry, Settings(**settings), layer)  # type: ignore[arg-type]
        request = GeoEmbeddingRequest(
            model="mosaiks",
            spatials=[PointBuffer(lon, 1, 200) for lon in longitudes],
            temporal=TemporalSpec.year(2023),
        )
        job = engine.prepare_regions(request)
        return job.assemble(loaded.run(job.items))

    return go


Run = Callable[..., list[Embedding | GeoBentoError]]


def test_single_and_batch_agree(run: Run) -> None:
    """A region gives the same vector alone and among others."""
    together = run(10, 11, 12)
    for position, lon in enumerate((10, 11, 12)):
        (alone,) = run(lon)
        np.testing.assert_array_equal(together[position].data, alone.data)  # type: ignore[union-attr]


def test_a_failing_region_fails_alone(run: Run) -> None:
    """Errors and defects of the source stay with their region; the rest is answered in order."""

    def answer(query: ImageQuery) -> Sample:
        if query.grid.crs == "EPSG:32632":
            raise NoImageryError("nothing there")
        if query.grid.crs == "EPSG:32633":
            raise ZeroDivisionError("secret")
        return noise(query)

    first, nothing, broken, last = run(3, 9, 15, 21, answer=answer)
    assert isinstance(first, Embedding)
    assert isinstance(nothing, NoImageryError)
    assert isinstance(broken, SourceError)
    assert "secret" not in broken.message
    assert isinstance(last, Embedding)


def test_a_single_failing_region_is_the_answer(run: Run) -> None:
    """With one item there is nothing else to say."""

    def answer(query: ImageQuery) -> Sample:
        raise NoImageryError("nothing there")

    with pytest.raises(NoImageryError):
        run(3, answer=answer)


def test_a_sample_that_does_not_fit_fails_alone(run: Run) -> None:
    """A source that answers with other bands is found out before the forward."""

    def answer(query: ImageQuery) -> Sample:
        sample = noise(query)
        return replace(sample, bands=sample.bands[::-1]) if query.grid.crs[-1] == "1" else sample

    wrong, right = run(3, 9, answer=answer)
    assert isinstance(wrong, GeoBentoError)
    assert isinstance(right, Embedding)


def test_regions_are_fetched_side_by_side(run: Run) -> None:
    """Four fetches meet at a barrier that none passes alone."""
    barrier = Barrier(4, timeout=10)

    def answer(query: ImageQuery) -> Sample:
        barrier.wait()
        return noise(query)

    assert all(isinstance(result, Embedding) for result in run(3, 9, 15, 21, answer=answer))


def test_the_number_of_items_is_bounded(run: Run) -> None:
    """More than the limit is refused as a whole."""
    with pytest.raises(PayloadTooLarge, match="accepted: up to 2"):
        run(1, 2, 3, max_client_batch_size=2)


def test_images(mosaiks_stored: StoredModel) -> None:
    """A damaged image leaves the others to be encoded."""
    registry = ModelRegistry(
        [ModelHandle(mosaiks_stored.model(), mosaiks_stored.to_served_model(), "cpu")]
    )
    engine = Engine(registry, Settings())
    request = ImageEmbeddingRequest(model="RCF", images=[FIELD, FIELD[:500], FIELD])
    job = engine.prepare_images(request)
    assert [isinstance(entry, GeoBentoError) for entry in job.entries] == [False, True, False]
    first, damaged, last = job.assemble(load_model(mosaiks_stored).run(job.items))
    assert isinstance(first, Embedding)
    np.testing.assert_array_equal(first.data, last.data)  # type: ignore[union-attr]
    assert damaged.field == "images.1"  # type: ignore[union-attr]


def test_choice_of_the_source(tmp_path: Path, demo_archive: Path) -> None:
    """The configured catalog before the demo archive; what is not configured is refused."""
    layer = ImageryFetcher.from_settings(Settings(stac=str(demo_archive), data_dir=tmp_path))
    assert layer.source("auto").backend == "stac"
    assert layer.source("stac") is layer.source("auto")
    with pytest.raises(InvalidRequest, match="accepted: auto, stac, demo"):
        layer.source("gee")
    assert ImageryFetcher.from_settings(Settings()).source("auto").backend == "demo"


def test_a_source_that_is_down_may_come_back(tmp_path: Path, demo_archive: Path) -> None:
    """A catalog that cannot be read is an error each time, until it can; never another source."""
    catalog = tmp_path / "archive" / "catalog.json"
    layer = ImageryFetcher.from_settings(
        Settings(stac=str(catalog), data_dir=demo_archive.parent.parent)
    )
    for _ in range(2):
        with pytest.raises(SourceError, match=r"catalog\.json"):
            layer.source("auto")
    catalog.parent.symlink_to(demo_archive.parent)
    assert layer.source("auto").backend == "stac"


def test_images_by_url(mosaiks_stored: StoredModel, tmp_path: Path) -> None:
    """Where it is on, URLs are fetched side by side and their failures stay with them."""
    (tmp_path / "field.jpg").write_bytes(FIELD)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    registry = ModelRegistry(
        [ModelHandle(mosaiks_stored.model(), mosaiks_stored.to_served_model(), "cpu")]
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        images = [f"{url}/field.jpg", f"{url}/none.jpg", FIELD, "http://192.168.0.1/a.jpg"]
        request = ImageEmbeddingRequest(model="mosaiks", images=images)
        local = ImageUrlFetcher(10**7, 5, is_allowed=lambda address: address.is_loopback)
        engine = Engine(registry, Settings(allow_image_urls=True))
        engine._url_fetcher = local
        result, missing, sent, private = engine.prepare_images(request).entries
        strict = Engine(registry, Settings(allow_image_urls=True)).prepare_images(request).entries
        off = Engine(registry, Settings()).prepare_images(request).entries
        server.shutdown()
    assert isinstance(result, tuple)
    assert isinstance(sent, tuple)
    np.testing.assert_array_equal(result[0][0].inputs["rgb"], sent[0][0].inputs["rgb"])
    assert isinstance(missing, InvalidImage)
    assert missing.field == "images.1"
    assert isinstance(private, InvalidImage)
    assert isinstance(strict[0], InvalidImage)
    assert "public internet" in strict[0].message
    assert isinstance(off[0], InvalidImage)
    assert "GEOBENTO_ALLOW_IMAGE_URLS" in off[0].message
    assert isinstance(off[2], tuple)
