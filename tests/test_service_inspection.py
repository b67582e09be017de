"""Plans and inspections, over HTTP."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

import geobento
from geobento.schemas.errors import GeoBentoError
from geobento.schemas.plan import EmbeddingPlan, Inspection, RegionPlan
from geobento.schemas.responses import EmbeddingItem, EmbeddingResponse, ErrorBody
from geobento.schemas.specs import PointBuffer, SensorSpec, TemporalSpec
from models.mosaiks.model import Mosaiks

S2_BANDS = Mosaiks.card.modalities["s2"].sensor.bands

REGION = {"type": "PointBuffer", "lon": 34.066, "lat": -3.401, "buffer_m": 200}
NOWHERE = {**REGION, "lon": 0.0, "lat": 0.0}
POLE = {**REGION, "lat": 89}
HUGE = {**REGION, "buffer_m": 100_000}
TINY = {**REGION, "buffer_m": 6}
JUNE = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}
L2A = "COPERNICUS/S2_SR_HARMONIZED"
RED = {"collection": L2A, "bands": ["B4"]}
SAVING = {**RED, "check_input": True, "check_save_dir": "/tmp"}


def ask(client: httpx.Client, path: str, **fields: Any) -> httpx.Response:
    """A request that can be answered unless `fields` say otherwise; None leaves a field out."""
    body = {"model": "mosaiks", "spatial": REGION, "temporal": JUNE, **fields}
    return client.post(path, json={k: v for k, v in body.items() if v is not None})


def test_a_plan_and_its_embedding(small_service: httpx.Client) -> None:
    """The plan has the scenes and pixels of the embedding, and every model that is served."""
    answer = ask(small_service, "/geo_embedding/plan")
    assert answer.status_code == 200, answer.text
    plan = EmbeddingPlan.model_validate_json(answer.content)
    done = EmbeddingResponse.model_validate_json(ask(small_service, "/geo_embedding").content)
    (region,), (entry,) = plan.regions, done.embeddings
    assert isinstance(region, RegionPlan)
    assert isinstance(entry, EmbeddingItem)
    assert (region.grid, region.scenes) == (entry.meta.pixels, entry.meta.scenes)
    assert region.shape == entry.shape == [1024]
    assert region.requests > 0 < region.bytes
    served = [model["card"]["id"] for model in small_service.get("/models").json()["models"]]
    assert [fit.model for fit in plan.models] == served
    assert [fit.model for fit in plan.models if fit.compatible] == ["mosaiks"]


def test_an_inspection(small_service: httpx.Client) -> None:
    """Statistics of every band, and an image as base64."""
    answer = ask(small_service, "/inspect")
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert [band["band"] for band in result["bands"]] == list(S2_BANDS)
    assert sum(result["bands"][0]["histogram"]["counts"]) == result["bands"][0]["count"]
    with Image.open(io.BytesIO(base64.b64decode(result["quicklook"]))) as image:
        assert (image.format, image.size) == ("PNG", (40, 40))
    alone = ask(small_service, "/inspect", model=None, sensor=RED)
    assert [band["band"] for band in alone.json()["bands"]] == ["B4"]


@pytest.mark.parametrize("path", ["/geo_embedding", "/geo_embedding/plan"])
@pytest.mark.parametrize(
    ("bad", "kind", "field"),
    [
        (POLE, "spec_error", "spatials.1"),
        (TINY, "model_error", "spatials.1"),
        (HUGE, "payload_too_large", "spatials.1"),
        (NOWHERE, "no_imagery", None),
    ],
    ids=["pole", "tiny", "huge", "nowhere"],
)
def test_one_bad_region_of_three(
    small_service: httpx.Client, path: str, bad: dict[str, Any], kind: str, field: str | None
) -> None:
    """The answer is 200, the others are answered in their positions, the bad one says why."""
    answer = ask(small_service, path, spatial=None, spatials=[REGION, bad, REGION])
    assert answer.status_code == 200, answer.text
    entries = answer.json()["regions" if path.endswith("plan") else "embeddings"]
    assert [list(entry) == ["error"] for entry in entries] == [False, True, False]
    error = ErrorBody.model_validate(entries[1]).error
    assert (error.type, error.field) == (kind, field)


@pytest.mark.parametrize(
    ("fields", "status", "kind", "field"),
    [
        ({"model": "nope"}, 404, "model_not_found", "model"),
        ({"model": "dinov2-small"}, 400, "model_error", "model"),
        ({"spatial": POLE}, 400, "spec_error", "spatial"),
        ({"spatial": {**REGION, "lat": 95}}, 400, "spec_error", "spatial.lat"),
        ({"spatial": HUGE}, 413, "payload_too_large", "spatial"),
        ({"spatial": NOWHERE}, 422, "no_imagery", None),
        ({"spatial": None}, 400, "invalid_request", None),
        ({"temporal": None}, 400, "model_error", "temporal"),
        ({"temporal": {"mode": "year", "year": 1999}}, 422, "no_imagery", None),
        ({"modality": "s1"}, 400, "model_error", "modality"),
        ({"backend": "gee"}, 400, "invalid_request", "backend"),
        ({"fetch": {"composite": "blend"}}, 400, "spec_error", "fetch.composite"),
        ({"colour": "red"}, 400, "invalid_request", "colour"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("path", ["/geo_embedding", "/geo_embedding/plan", "/inspect"])
def test_rejected_requests(
    small_service: httpx.Client,
    path: str,
    fields: dict[str, Any],
    status: int,
    kind: str,
    field: str | None,
) -> None:
    """Embedding, plan and inspection refuse the same, in the one error shape."""
    if (path, fields) == ("/inspect", {"spatial": None}):
        kind, field = "spec_error", "spatial"
    answer = ask(small_service, path, **fields)
    assert answer.status_code == status, answer.text
    error = ErrorBody.model_validate_json(answer.content).error
    assert (error.type, error.field) == (kind, field)


@pytest.mark.parametrize(
    ("fields", "kind", "field"),
    [
        ({"sensor": RED}, "invalid_request", None),
        ({"model": None}, "invalid_request", None),
        ({"model": None, "sensor": RED, "modality": "s2"}, "invalid_request", "modality"),
        ({"model": None, "sensor": RED, "fetch": {}}, "spec_error", "fetch"),
        ({"model": None, "sensor": SAVING}, "spec_error", "sensor.check_save_dir"),
        ({"model": None, "sensor": {**RED, "bands": ["B99"]}}, "model_error", "sensor.bands"),
        (
            {"model": None, "sensor": {**RED, "collection": "NO/SUCH"}},
            "model_error",
            "sensor.collection",
        ),
        ({"spatials": [REGION]}, "spec_error", "spatials"),
    ],
    ids=str,
)
def test_inspections_that_are_refused(
    small_service: httpx.Client, fields: dict[str, Any], kind: str, field: str | None
) -> None:
    """A model or a sensor, and what goes with it; one region."""
    answer = ask(small_service, "/inspect", **fields)
    assert answer.status_code == 400, answer.text
    error = ErrorBody.model_validate_json(answer.content).error
    assert (error.type, error.field) == (kind, field)


def test_a_sensor_that_does_not_fit(small_service: httpx.Client) -> None:
    """The plan's error says of every model whether the sensor fits it."""
    answer = ask(small_service, "/geo_embedding/plan", sensor=RED)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["field"] == "sensor.bands"
    assert {fit["model"]: fit["compatible"] for fit in error["detail"]["models"]}[
        "mosaiks"
    ] is False
    saving = ask(small_service, "/geo_embedding/plan", sensor={**SAVING, "bands": list(S2_BANDS)})
    assert saving.json()["error"]["field"] == "sensor.check_save_dir"


@pytest.mark.parametrize("path", ["/geo_embedding/plan", "/inspect"])
def test_other_methods_and_formats(small_service: httpx.Client, path: str) -> None:
    """GET is 405, and anything but JSON is 415."""
    assert small_service.get(path).json()["error"]["type"] == "method_not_allowed"
    form = small_service.post(path, data={"model": "mosaiks"})
    assert (form.status_code, form.json()["error"]["type"]) == (415, "unsupported_media_type")


def test_python_asks_the_server_as_it_asks_itself(
    small_service: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions give the same records in-process and by HTTP, images included."""
    here = PointBuffer(34.066, -3.401, 200)
    window = TemporalSpec.range("2023-06-01", "2023-07-01")
    sensor = SensorSpec(L2A, ("B8", "B4"))

    def answers() -> tuple[EmbeddingPlan, Inspection, Inspection]:
        return (
            geobento.plan_embedding("mosaiks", spatial=here, temporal=window),
            geobento.inspect_patch("mosaiks", spatial=here, temporal=window).without_timing(),
            geobento.inspect_patch(spatial=here, temporal=window, sensor=sensor).without_timing(),
        )

    models = small_service.get("/models").json()["models"]
    monkeypatch.setenv("GEOBENTO_MODELS", ",".join(model["tag"] for model in models))
    local = answers()
    monkeypatch.setenv("GEOBENTO_URL", str(small_service.base_url))
    remote = answers()
    assert local == remote
    assert remote[1].quicklook.startswith(b"\x89PNG")
    calls: list[Callable[[], object]] = [
        lambda: geobento.plan_embedding("mosaiks", spatial=POLE, temporal=window),
        lambda: geobento.inspect_patch("mosaiks", spatial=POLE, temporal=window),
    ]
    for call in calls:
        with pytest.raises(GeoBentoError) as there:
            call()
        monkeypatch.delenv("GEOBENTO_URL")
        with pytest.raises(GeoBentoError) as at_home:
            call()
        assert there.value.body() == at_home.value.body()
        monkeypatch.setenv("GEOBENTO_URL", str(small_service.base_url))
