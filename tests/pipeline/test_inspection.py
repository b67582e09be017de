"""What a request would do and what its pixels are like, with sources that are scripted or real."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from PIL import Image

from geobento.config.settings import Settings
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import (
    GeoBentoError,
    ModelError,
    NoImageryError,
    PayloadTooLarge,
    SourceError,
)
from geobento.schemas.plan import EmbeddingPlan, Inspection, RegionPlan
from geobento.schemas.requests import GeoEmbeddingRequest, InspectRequest
from geobento.schemas.responses import ErrorBody
from geobento.schemas.sample import Provenance, Sample, Scene
from imagery.query import ImageQuery
from imagery.source import FetchEstimate
from inference.loading import load_model
from models.mosaiks.model import Mosaiks
from models.weights.stored_model import StoredModel
from pipeline import inspection
from pipeline.engine import Engine
from pipeline.fetching.fetcher import ImageryFetcher
from pipeline.local_engine import LocalEngine
from pipeline.model_registry import ModelHandle, ModelRegistry
from tests.compat.vitrivr_service import opened

S2_BANDS = Mosaiks.card.modalities["s2"].sensor.bands

REGION = {"type": "PointBuffer", "lon": 34.066, "lat": -3.401, "buffer_m": 200}
NOWHERE = {**REGION, "lon": 0.0, "lat": 0.0}
BROKEN = {**REGION, "lon": 15.0, "lat": 1.0}
TINY = {**REGION, "buffer_m": 6}
POLE = {**REGION, "lat": 89}
HUGE = {**REGION, "buffer_m": 100_000}
JUNE = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}
L2A, DEM = "COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/DEM/GLO30"
SCENE = Scene("scene", datetime(2023, 6, 10, 8, tzinfo=UTC), 3.5)


class Scripted:
    """A source that has one scene of everywhere but two zones, and keeps what was fetched of it."""

    backend = "scripted"

    def __init__(self, answer: Callable[[ImageQuery], Sample]) -> None:
        self.fetched: list[ImageQuery] = []
        self._answer = answer

    def fetch(self, query: ImageQuery) -> Sample:
        self.fetched.append(query)
        return self._answer(query)

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        if query.grid.crs == "EPSG:32631":
            raise NoImageryError("nothing there")
        if query.grid.crs == "EPSG:32633":
            raise ZeroDivisionError("secret")
        return FetchEstimate(Provenance("scripted", "a script", (SCENE,), "invented"), 7, 1234)


def ramps(query: ImageQuery) -> Sample:
    """Band i holds i * 100 and more by one with every column; the first row has no data."""
    bands, (height, width) = query.sensor.bands, query.grid.shape
    pixels = np.arange(width) + 100.0 * np.arange(len(bands))[:, None, None]
    valid = np.ones((height, width), bool)
    valid[0] = False
    return Sample(
        np.broadcast_to(pixels, (len(bands), height, width)).astype(np.float32),
        bands,
        query.modality,
        valid=valid,
        grid=query.grid,
        provenance=Provenance("scripted", "a script", (SCENE,), "invented"),
    )


@pytest.fixture
def source() -> Scripted:
    """The source of the engine."""
    return Scripted(ramps)


@pytest.fixture
def engine(mosaiks_stored: StoredModel, source: Scripted) -> Engine:
    """An engine with `mosaiks` and a model that reads images alone."""
    from models.dinov2.model import DinoV2

    mosaiks = ModelHandle(mosaiks_stored.model(), mosaiks_stored.to_served_model(), "cpu")
    layer = ImageryFetcher({"demo": lambda: source}, max_threads=4)
    return Engine(
        ModelRegistry([mosaiks, opened(DinoV2)]), Settings(max_client_batch_size=4), layer
    )


def geo(**fields: Any) -> GeoEmbeddingRequest:
    """A request that can be answered unless `fields` say otherwise."""
    request = {"model": "mosaiks", "spatial": REGION, "temporal": JUNE, **fields}
    if "spatials" in fields:
        del request["spatial"]
    return GeoEmbeddingRequest.model_validate(request)


def patch(**fields: Any) -> InspectRequest:
    """A request that can be answered unless `fields` say otherwise."""
    request = {"spatial": REGION, "temporal": JUNE, **fields}
    return InspectRequest.model_validate(
        request if "sensor" in request else {"model": "mosaiks", **request}
    )


def only(plan: EmbeddingPlan) -> RegionPlan:
    """The plan of the only region."""
    (region,) = plan.regions
    assert isinstance(region, RegionPlan)
    return region


# -- plans -------------------------------------------------------------------------------------


def test_a_plan_fetches_nothing(engine: Engine, source: Scripted) -> None:
    """It says what the source says of the scenes, and what the request resolves to."""
    plan = inspection.plan_embedding(engine, geo())
    assert source.fetched == []
    assert (plan.model, plan.modality, plan.frames) == ("mosaiks", "s2", 1)
    assert plan.sensor.bands == S2_BANDS
    assert (plan.temporal.start, plan.temporal.end) == (
        "2023-06-01T00:00:00Z",
        "2023-07-01T00:00:00Z",
    )
    region = only(plan)
    assert (region.backend, region.source, region.notice) == ("scripted", "a script", "invented")
    assert (region.requests, region.bytes) == (7, 1234)
    assert [(scene.id, scene.time, scene.cloud_pct) for scene in region.scenes] == [
        ("scene", "2023-06-10T08:00:00Z", 3.5)
    ]
    assert (region.grid.height, region.grid.width) == (40, 40)
    assert (region.tiles, region.inputs, region.shape) == (None, 1, [1024])


def test_options_change_the_plan(engine: Engine) -> None:
    """Scale, tiles and output are those of the request."""
    coarse = only(inspection.plan_embedding(engine, geo(fetch={"scale_m": 20})))
    assert (coarse.grid.height, coarse.grid.transform[0]) == (20, 20)
    assert only(inspection.plan_embedding(engine, geo(output={"mode": "grid"}))).shape is None
    prep = {"mode": "tile", "tile_size": 16, "tile_stride": 12}
    tiled = only(inspection.plan_embedding(engine, geo(input_prep=prep)))
    assert tiled.tiles is not None
    assert (tiled.tiles.size, tiled.tiles.rows) == (16, [0, 12, 24])
    assert tiled.inputs == 9


def test_a_plan_lists_models_that_read_the_sensor(engine: Engine) -> None:
    """All models that are served, also the one that is asked."""
    plan = inspection.plan_embedding(engine, geo())
    assert [(fit.model, fit.compatible) for fit in plan.models] == [
        ("mosaiks", True),
        ("dino_v2_vits14", False),
    ]


def test_an_incompatible_sensor_lists_compatible_models(engine: Engine) -> None:
    """The error is that of the embedding, and its detail lists the models."""
    wrong = geo(sensor={"collection": L2A, "bands": ["B4"]})
    with pytest.raises(ModelError) as caught:
        inspection.plan_embedding(engine, wrong)
    assert caught.value.field == "sensor.bands"
    assert [model["model"] for model in caught.value.detail["models"]] == [
        "mosaiks",
        "dino_v2_vits14",
    ]
    with pytest.raises(ModelError) as embedding:
        engine.prepare_regions(wrong)
    assert embedding.value.message == caught.value.message
    with pytest.raises(ModelError) as other:
        inspection.plan_embedding(engine, geo(modality="s1"))
    assert other.value.detail is None


def errors(entries: list[Any]) -> list[tuple[str, str | None] | None]:
    """Type and field of the entries that are errors."""
    return [
        (entry.error.type, entry.error.field) if isinstance(entry, ErrorBody) else None
        for entry in entries
    ]


def test_regions_fail_one_by_one(engine: Engine, source: Scripted) -> None:
    """What cannot be resolved, what has no scenes, and a defect stay with their regions."""
    plan = inspection.plan_embedding(engine, geo(spatials=[POLE, REGION, NOWHERE, BROKEN]))
    assert errors(plan.regions) == [
        ("spec_error", "spatials.0"),
        None,
        ("no_imagery", None),
        ("source_error", None),
    ]
    assert "secret" not in plan.model_dump_json()


@pytest.mark.parametrize("bad", [POLE, TINY, HUGE], ids=["pole", "tiny", "huge"])
def test_a_bad_region_fails_alike_in_plan_and_embedding(
    engine: Engine, mosaiks_stored: StoredModel, bad: dict[str, Any]
) -> None:
    """One bad of three: the others are answered, and both say the same of the bad one."""
    request = geo(spatials=[REGION, bad, REGION])
    plan = inspection.plan_embedding(engine, request)
    job = engine.prepare_regions(request)
    answers = job.assemble(load_model(mosaiks_stored).run(job.items))
    assert [isinstance(answer, Embedding) for answer in answers] == [True, False, True]
    assert [isinstance(entry, RegionPlan) for entry in plan.regions] == [True, False, True]
    failed, planned = answers[1], plan.regions[1]
    assert isinstance(failed, GeoBentoError)
    assert isinstance(planned, ErrorBody)
    assert planned.model_dump() == failed.body()
    assert failed.field == "spatials.1"


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"spatial": POLE}, GeoBentoError, "spatial"),
        ({"spatials": [POLE]}, GeoBentoError, "spatials.0"),
        ({"spatial": HUGE}, PayloadTooLarge, "spatial"),
        ({"spatial": NOWHERE}, NoImageryError, None),
        ({"spatial": BROKEN}, SourceError, None),
        ({"spatials": [REGION] * 5}, PayloadTooLarge, "spatials"),
        ({"model": "dino_v2_vits14"}, ModelError, "model"),
        ({"backend": "stac"}, GeoBentoError, "backend"),
        ({"device": "cuda"}, ModelError, "device"),
        ({"model_config": {"size": 3}}, ModelError, "model_config.size"),
        ({"temporal": None}, ModelError, "temporal"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_requests_that_would_fail(
    engine: Engine, fields: dict[str, Any], error: type[GeoBentoError], field: str | None
) -> None:
    """They fail as the embedding does: as a whole, or as its only region."""
    with pytest.raises(error) as caught:
        inspection.plan_embedding(engine, geo(**fields))
    assert caught.value.field == field


# -- inspections -------------------------------------------------------------------------------


def inspected(engine: Engine, **fields: Any) -> Inspection:
    """The answer of an inspection."""
    return inspection.inspect_patch(engine, patch(**fields))


def test_pixels_are_described(engine: Engine) -> None:
    """Every band in order, what is valid, where it lies, and an image of its size."""
    result = inspected(engine)
    assert [band.band for band in result.bands] == list(S2_BANDS)
    assert [(band.min, band.max, band.count) for band in result.bands[:2]] == [
        (0, 39, 39 * 40),
        (100, 139, 39 * 40),
    ]
    assert (result.modality, result.valid_fraction) == ("s2", 39 / 40)
    assert "reflectance" in result.units
    assert result.scenes is not None
    assert (result.backend, result.scenes[0].id, result.notice) == ("scripted", "scene", "invented")
    assert result.pixels is not None
    assert (result.crs, result.transform) == (result.pixels.crs, result.pixels.transform)
    with Image.open(io.BytesIO(result.quicklook)) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (40, 40), "RGB")
        shown = np.asarray(image)
    assert not shown[0].any()
    assert (np.diff(shown[1, :, 0].astype(int)) >= 0).all()


def test_a_sensor_of_no_model(engine: Engine, source: Scripted) -> None:
    """Any bands of a collection, in grey where they make no colours."""
    sensor = {"collection": L2A, "bands": ["B8"], "scale_m": 20}
    result = inspected(engine, sensor=sensor)
    assert (result.modality, [band.band for band in result.bands]) == (None, ["B8"])
    assert source.fetched[0].grid.shape == (20, 20)
    with Image.open(io.BytesIO(result.quicklook)) as image:
        assert (image.mode, image.size) == ("L", (20, 20))


def test_static_imagery_needs_no_window(engine: Engine) -> None:
    """Elevation; of anything else the window is asked for."""
    sensor = {"collection": DEM, "bands": ["DEM"]}
    assert inspected(engine, sensor=sensor, temporal=None).bands[0].band == "DEM"
    with pytest.raises(ModelError, match=f"{L2A} needs a time window"):
        inspected(engine, sensor={"collection": L2A, "bands": ["B4"]}, temporal=None)


@pytest.mark.parametrize("check", [{"check_input": True, "check_raise": True}, {}])
def test_odd_pixels_are_a_warning(mosaiks_stored: StoredModel, check: dict[str, bool]) -> None:
    """Pixels that an embedding may refuse are described all the same."""

    def dark(query: ImageQuery) -> Sample:
        return replace(ramps(query), pixels=np.zeros((1, *query.grid.shape), np.float32))

    layer = ImageryFetcher({"demo": lambda: Scripted(dark)}, max_threads=1)
    engine = Engine(ModelRegistry([]), Settings(), layer)
    result = inspected(engine, sensor={"collection": L2A, "bands": ["B4"], **check})
    assert "B4 is 0 everywhere" in result.warnings
    assert result.bands[0].max == 0


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"spatial": POLE}, GeoBentoError, "spatial"),
        ({"spatial": HUGE}, PayloadTooLarge, "spatial"),
        ({"model": "nope"}, ModelError, "model"),
        ({"model": "dino_v2_vits14"}, ModelError, "model"),
        ({"modality": "s1"}, ModelError, "modality"),
        ({"temporal": None}, ModelError, "temporal"),
        ({"backend": "gee"}, GeoBentoError, "backend"),
        (
            {"sensor": {"collection": L2A, "bands": ["B4"], "orbit": "ASCENDING"}},
            ModelError,
            "sensor.orbit",
        ),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_pixels_that_cannot_be_had(
    engine: Engine, fields: dict[str, Any], error: type[GeoBentoError], field: str | None
) -> None:
    """The error names the field, and nothing is fetched."""
    with pytest.raises(error) as caught:
        inspected(engine, **fields)
    assert caught.value.field == field


# -- against the demo archive ------------------------------------------------------------------


@pytest.fixture
def local(mosaiks_stored: StoredModel, demo_archive: object) -> LocalEngine:
    """`mosaiks` in this process."""
    return LocalEngine(Settings(models=(mosaiks_stored.tag,), stac=None))


def test_a_plan_is_what_is_done(local: LocalEngine) -> None:
    """Grid, tiles, scenes, sensor and window are those of the embedding."""
    request = geo(input_prep={"mode": "tile", "tile_size": 24})
    plan = local.plan_embedding(request)
    (done,) = local.geo_embedding(request)
    assert isinstance(done, Embedding)
    region = only(plan)
    assert region.grid == done.meta.pixels
    assert region.tiles == done.meta.tiles
    assert region.scenes == done.meta.scenes
    assert region.shape == list(done.data.shape)
    assert (region.backend, region.source, region.notice) == (
        done.meta.backend,
        done.meta.source,
        done.meta.notice,
    )
    assert (plan.sensor, plan.temporal) == (done.meta.sensor, done.meta.temporal)
    assert plan.modality == done.meta.modality


def test_an_inspection_is_of_the_pixels_that_are_embedded(local: LocalEngine) -> None:
    """The same scenes and pixels, in the range of their units."""
    result = local.inspect_patch(patch())
    (done,) = local.geo_embedding(geo())
    assert isinstance(done, Embedding)
    assert (result.pixels, result.scenes) == (done.meta.pixels, done.meta.scenes)
    assert (result.sensor, result.valid_fraction) == (done.meta.sensor, done.meta.valid_fraction)
    assert all(0 <= band.p2 <= band.p50 <= band.p98 <= 12_000 for band in result.bands)
    assert result.warnings == []
    assert Inspection.model_validate_json(result.model_dump_json()) == result
