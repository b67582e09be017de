"""The service as its users meet it: a real process, over real HTTP."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from openapi_spec_validator import validate
from PIL import Image
from pydantic import TypeAdapter
from pyproj import Transformer

from geobento import PointBuffer, TemporalSpec
from geobento.schemas import serialization
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError, ModelNotFound, NoImageryError
from geobento.schemas.geometry import Area, Spatial
from geobento.schemas.sample import PixelGrid
from imagery import cell_fractions
from models.mosaiks.model import Mosaiks
from tests.conftest import ROOT, SHARED
from tests.servers import serving

S2_BANDS = Mosaiks.card.modalities["s2"].sensor.bands

REGION = {"type": "PointBuffer", "lon": 34.066, "lat": -3.401, "buffer_m": 1000}
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
JUNE = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}


def image(seed: int = 0, size: tuple[int, int] = (64, 48), kind: str = "JPEG") -> bytes:
    """An image of blurred noise."""
    noise = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size).save(buffer, kind)
    return buffer.getvalue()


def data_url(data: bytes) -> str:
    """An image as it stands in JSON."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def client(
    tmp_path_factory: pytest.TempPathFactory, mosaiks_stored: object, demo_archive: object
) -> Iterator[httpx.Client]:
    """The service with `mosaiks` and the demo archive."""
    log = tmp_path_factory.mktemp("service") / "log"
    with serving(
        log,
        GEOBENTO_MODELS="mosaiks",
        GEOBENTO_MAX_BODY_MB="4",
        GEOBENTO_MAX_REGION_PIXELS="250000",
    ) as started:
        yield started


def images(client: httpx.Client, *images: str, **fields: Any) -> httpx.Response:
    """A request of `/image_embedding` as JSON."""
    body = {"model": "mosaiks", "images": list(images), **fields}
    return client.post("/image_embedding", json=body)


def geo(client: httpx.Client, **fields: Any) -> httpx.Response:
    """A request of `/geo_embedding`, a valid one unless `fields` say otherwise."""
    body = {"model": "mosaiks", "spatial": REGION, "temporal": JUNE, **fields}
    return client.post("/geo_embedding", json={k: v for k, v in body.items() if v is not None})


def vectors(answer: httpx.Response) -> list[Embedding | GeoBentoError]:
    """The entries of a successful answer."""
    assert answer.status_code == 200, answer.text
    return serialization.decode_embeddings(answer.content)


def error(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The error of a failing answer, whose status and shape are checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"type", "message", "field", "detail"}
    assert body["error"]["type"] == kind
    return dict(body["error"])


# -- images ----------------------------------------------------------------------------------


def test_all_ways_to_send_a_image_agree(client: httpx.Client) -> None:
    """Data URL, base64, multipart and a bare image give the same vector, in both encodings."""
    data = image()
    answers = [
        images(client, data_url(data)),
        images(client, base64.b64encode(data).decode(), encoding="base64"),
        client.post("/image_embedding", data={"model": "rcf"}, files=[("images", data)]),
        client.post(
            "/image_embedding",
            params={"model": "mosaiks"},
            content=data,
            headers={"content-type": "image/jpeg"},
        ),
    ]
    first, *others = [vectors(answer)[0] for answer in answers]
    assert isinstance(first, Embedding)
    assert first.data.shape == (1024,)
    assert np.isfinite(first.data).all()
    for other in others:
        assert isinstance(other, Embedding)
        np.testing.assert_array_equal(first.data, other.data)
        assert other.meta.without_timing() == first.meta.without_timing()
    assert answers[0].json()["model"] == "mosaiks"
    assert answers[0].json()["dim"] == 1024


def test_several_files_in_one_form_keep_their_order(client: httpx.Client) -> None:
    """Repeated multipart fields are answered one by one, in order."""
    files = [("images", image(seed)) for seed in range(3)]
    answer = client.post("/image_embedding", data={"model": "mosaiks"}, files=files)
    single = [vectors(images(client, data_url(image(seed))))[0] for seed in range(3)]
    for together, alone in zip(vectors(answer), single, strict=True):
        np.testing.assert_array_equal(together.data, alone.data)  # type: ignore[union-attr]


def test_normalize_gives_unit_length(client: httpx.Client) -> None:
    """`normalize` scales the vector and the metadata says so."""
    (plain,) = vectors(images(client, data_url(image())))
    (unit,) = vectors(images(client, data_url(image()), normalize=True))
    assert isinstance(plain, Embedding)
    assert isinstance(unit, Embedding)
    assert not plain.meta.normalized
    assert unit.meta.normalized
    np.testing.assert_allclose(unit.data, plain.data / np.linalg.norm(plain.data), rtol=1e-6)


def test_one_bad_image_leaves_the_others_answered(client: httpx.Client) -> None:
    """With several items the answer is 200 and each speaks for itself."""
    good = data_url(image())
    answer = images(client, good, data_url(image()[:200]), good)
    entries = answer.json()["embeddings"]
    assert [list(entry) for entry in entries] == [
        ["data", "shape", "dtype", "meta"],
        ["error"],
        ["data", "shape", "dtype", "meta"],
    ]
    assert entries[1]["error"]["type"] == "invalid_image"
    assert entries[1]["error"]["field"] == "images.1"


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (base64.b64encode(b"just some text, no image").decode(), "JPEG, PNG"),
        (base64.b64encode(image()[:300]).decode(), "damaged or incomplete"),
        (base64.b64encode(image(size=(1, 1), kind="PNG")).decode(), "at least 3 x 3"),
        ("%%%not base64%%%", "base64"),
        ("", "empty"),
        ("https://example.com/a.jpg", "not fetched"),
    ],
    ids=["text", "truncated", "1x1", "base64", "empty", "url"],
)
def test_a_bad_image_is_the_clients_fault(client: httpx.Client, payload: str, says: str) -> None:
    """A single image that cannot be read is a 400 that says what is accepted."""
    result = error(images(client, payload), 400, "invalid_image")
    assert says in result["message"]
    assert result["field"] == "images.0"


def test_bodies_that_do_not_fit(client: httpx.Client) -> None:
    """No images, no JSON, another content type, too large, unknown model: each its own 4xx."""
    assert error(images(client), 400, "invalid_request")["field"] == "images"
    error(client.post("/image_embedding", content=b"{"), 400, "invalid_request")
    error(
        client.post("/image_embedding", content=b"x", headers={"content-type": "text/plain"}),
        415,
        "unsupported_media_type",
    )
    error(client.post("/image_embedding", content=b"a" * 5_000_000), 413, "payload_too_large")
    missing = error(images(client, "aa", model="clip_vit_huge"), 404, "model_not_found")
    assert "mosaiks" in missing["message"]
    assert error(images(client, "aa", config={"size": 3}), 400, "model_error")["field"] == (
        "config.size"
    )


# -- regions ------------------------------------------------------------------------------------


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


# -- the rest of the surface -------------------------------------------------------------------


def test_models_are_described(client: httpx.Client) -> None:
    """The list and the single card, also by alias."""
    (listed,) = client.get("/models").json()["models"]
    assert listed["card"]["id"] == "mosaiks"
    assert client.get("/models/rcf").json() == listed
    error(client.get("/models/nope"), 404, "model_not_found")


def test_other_routes_fail_in_the_same_shape(client: httpx.Client) -> None:
    """What the framework answers has our shape too."""
    error(client.get("/nothing"), 404, "not_found")
    error(client.get("/geo_embedding"), 405, "method_not_allowed")


def test_the_documentation_describes_this_service(client: httpx.Client) -> None:
    """The page needs nothing from outside, and its document is valid OpenAPI."""
    page = client.get("/").text
    assert not re.findall(r"(?:src|href)=[\"']https?://", page)
    for asset in re.findall(r"(?:src|href)=\"\./([^\"]+)\"", page):
        assert client.get(f"/{asset}").is_success, asset
    document = client.get("/docs.json").json()
    validate(document)
    schema = document["components"]["schemas"]["GeoEmbeddingRequest"]
    assert "model_config" in schema["properties"]
    assert all(field.get("description") for field in schema["properties"].values())


def test_concurrent_requests_are_batched_and_none_is_lost(client: httpx.Client) -> None:
    """40 requests at once: 40 equal answers, and batches of more than one in the metrics."""
    payload = data_url(image())
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: images(client, payload, encoding="base64"), range(40)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["embeddings"][0]["data"] for answer in answers}) == 1
    metrics = client.get("/metrics").text
    sizes = re.findall(r'geobento_batch_items_bucket{le="([^"]+)".*} ([\d.]+)', metrics)
    within = {float(edge): float(count) for edge, count in sizes}
    assert within[float("inf")] > within[1.0]


def test_python_gets_the_same_answer_from_the_server_as_in_process(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`get_embedding` with GEOBENTO_URL and without differ in where, not in what."""
    import geobento

    def ask() -> list[Embedding]:
        return geobento.get_embeddings_batch(
            "mosaiks",
            spatials=[PointBuffer(34.066, -3.401, 300), PointBuffer(34.07, -3.40, 200)],
            temporal=TemporalSpec.range("2023-06-01", "2023-07-01"),
        )

    here = ask()
    monkeypatch.setenv("GEOBENTO_URL", str(client.base_url))
    there = ask()
    for local, remote in zip(here, there, strict=True):
        np.testing.assert_array_equal(local.data, remote.data)
        assert local.meta.without_timing() == remote.meta.without_timing()
    assert geobento.list_models()[0].card.id == "mosaiks"
    assert geobento.describe_model("RCF") == geobento.list_models()[0]


def test_python_collects_failures_where_asked(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A region without imagery is an error in its position, or raised, here and by HTTP."""
    import geobento

    far = PointBuffer(-150, 60, 300)
    regions = [PointBuffer(34.066, -3.401, 300), far]
    temporal = TemporalSpec.range("2023-06-01", "2023-07-01")
    for url in (None, str(client.base_url)):
        if url is not None:
            monkeypatch.setenv("GEOBENTO_URL", url)
        result, failed = geobento.get_embeddings_batch(
            "mosaiks", spatials=regions, temporal=temporal, on_error="collect"
        )
        assert isinstance(result, Embedding)
        assert isinstance(failed, NoImageryError)
        (alone,) = geobento.get_embeddings_batch(
            "mosaiks", spatials=[far], temporal=temporal, on_error="collect"
        )
        assert isinstance(alone, NoImageryError)
        with pytest.raises(NoImageryError):
            geobento.get_embeddings_batch("mosaiks", spatials=regions, temporal=temporal)
        with pytest.raises(ModelNotFound):
            geobento.get_embeddings_batch(
                "nope", spatials=[far], temporal=temporal, on_error="collect"
            )


@pytest.mark.slow
def test_limits_that_were_set(tmp_path: Path, mosaiks_stored: object) -> None:
    """A deadline is kept while work goes on; a catalog that is missing stops no image."""
    log, missing = tmp_path / "log", str(tmp_path / "none.json")
    with serving(log, GEOBENTO_REQUEST_TIMEOUT_S="0.02", GEOBENTO_STAC=missing) as client:
        large = data_url(image(size=(3000, 3000)))
        error(images(client, *[large] * 4), 504, "deadline_exceeded")
    assert "none.json" in log.read_text()
    with serving(log, GEOBENTO_STAC=missing) as client:
        result = error(geo(client), 502, "source_error")
        assert "none.json" in result["message"]
        assert str(tmp_path) not in result["message"]
        assert images(client, data_url(image())).is_success


@pytest.mark.slow
def test_several_models_are_served_side_by_side(tmp_path: Path, demo_archive: object) -> None:
    """Every model in the store has a runner; each answers in its own way, dummies say so."""
    pytest.importorskip("transformers")
    home = str(tmp_path / "bentoml")
    for arguments in (["mosaiks"], ["dino_v2_vits14", "--weights", "dummy"]):
        subprocess.run(
            [sys.executable, "-m", "geobento", "models", "import", *arguments],
            cwd=ROOT,
            env={**os.environ, "BENTOML_HOME": home},
            check=True,
        )
    with serving(tmp_path / "log", BENTOML_HOME=home) as client:
        ids = {model["card"]["id"] for model in client.get("/models").json()["models"]}
        assert ids == {"mosaiks", "dino_v2_vits14"}
        data = data_url(image(size=(300, 200)))
        (texture,) = vectors(images(client, data))
        (seen,) = vectors(images(client, data, model="dinov2-small"))
        other = {"preprocessing": "vitrivr"}
        (as_vitrivr,) = vectors(images(client, data, model="dino_v2_vits14", config=other))
        assert isinstance(texture, Embedding)
        assert isinstance(seen, Embedding)
        assert isinstance(as_vitrivr, Embedding)
        assert (texture.data.shape, seen.data.shape) == ((1024,), (384,))
        assert (seen.meta.weights, seen.meta.pooling) == ("dummy", "native")
        assert np.abs(seen.data - as_vitrivr.data).max() > 1e-3
        assert (seen.meta.config, as_vitrivr.meta.config) == ({}, other)
        for unknown in ("mine", ["vitrivr"], 0):
            config = {"preprocessing": unknown}
            wrong = images(client, data, model="dino_v2_vits14", config=config)
            assert error(wrong, 400, "model_error")["field"] == "config.preprocessing"
        error(geo(client, model="dino_v2_vits14"), 400, "model_error")


# -- real imagery ------------------------------------------------------------------------------


@pytest.mark.skipif(not (SHARED / "archive").is_dir(), reason="no archive of real imagery")
def test_real_imagery(tmp_path_factory: pytest.TempPathFactory, mosaiks_stored: object) -> None:
    """A real region from a STAC catalog; its true-colour image goes the other way in."""
    log = tmp_path_factory.mktemp("real") / "log"
    with serving(log, GEOBENTO_STAC=str(SHARED / "archive" / "catalog.json")) as client:
        (pooled,) = vectors(geo(client))
        (grid,) = vectors(geo(client, output={"mode": "grid"}))
        assert isinstance(pooled, Embedding)
        assert isinstance(grid, Embedding)
        assert pooled.meta.backend == "stac"
        assert pooled.meta.notice is None
        assert grid.meta.grid is not None
        assert grid.meta.grid.crs == "EPSG:32736"
        np.testing.assert_allclose(grid.data.mean(axis=(1, 2)), pooled.data, atol=1e-6)
        visual = next((SHARED / "archive" / "data" / "sentinel-2-l2a").glob("38D*/visual.tif"))
        files = [("images", visual.read_bytes())]
        answer = client.post("/image_embedding", data={"model": "mosaiks"}, files=files)
        (seen,) = vectors(answer)
        assert isinstance(seen, Embedding)
        assert seen.data.shape == (1024,)
