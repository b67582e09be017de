"""The other routes, limits and models of the service; the Python functions against it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from openapi_spec_validator import validate

import geobento
from geobento import PointBuffer, TemporalSpec
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import ModelNotFound, NoImageryError
from tests.conftest import ROOT, SHARED
from tests.servers import serving
from tests.service_requests import data_url, error, geo, image, images, vectors


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


def test_usual_paths(client: httpx.Client) -> None:
    """Probes, documents and descriptions are also where other servers have them."""
    assert client.get("/health").status_code == client.get("/readyz").status_code == 200
    assert client.get("/docs").text == client.get("/").text
    assert client.get("/openapi.json").json() == client.get("/docs.json").json()
    assert client.get("/favicon.ico").status_code == 204
    described = client.get("/info").json()
    assert described["version"] == geobento.__version__
    assert described["models"] == ["mosaiks:gaussian"]


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
    """A deadline is kept while work goes on; a catalog that is down stops no image."""
    log, missing = tmp_path / "log", "http://127.0.0.1:9/catalog.json"
    with serving(log, GEOBENTO_REQUEST_TIMEOUT_S="0.02", GEOBENTO_STAC=missing) as client:
        large = data_url(image(size=(3000, 3000)))
        error(images(client, *[large] * 4), 504, "deadline_exceeded")
    assert "127.0.0.1:9" in log.read_text()
    with serving(log, GEOBENTO_STAC=missing) as client:
        result = error(geo(client), 503, "source_unavailable")
        assert "127.0.0.1:9" in result["message"]
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


def test_offers_to_upgrade_are_ignored(client: httpx.Client) -> None:
    """Java's HttpClient offers HTTP/2 with every request; the body is read all the same."""
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAQ"}
    body = {"model": "mosaiks", "images": [data_url(image())]}
    plain = client.post("/image_embedding", json=body)
    offered = client.post("/image_embedding", json=body, headers=headers)
    assert vectors(offered)[0].data.tolist() == vectors(plain)[0].data.tolist()  # type: ignore[union-attr]
