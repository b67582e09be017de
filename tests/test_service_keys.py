"""The real service with API keys, over HTTP."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import httpx
import numpy as np
import pytest

from geobento import AsyncClient, Client, Embedding
from geobento.schemas.errors import Unauthorized
from tests.conftest import ROOT
from tests.servers import Keyed

IMAGE = (ROOT / "tests" / "data" / "field.jpg").read_bytes()
REGION = {"type": "PointBuffer", "lon": 34.066, "lat": -3.401, "buffer_m": 500}
JUNE = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("path", ["/models", "/v1/models", "/api/models", "/schema.json", "/nope"])
def test_no_key_no_answer(keyed_service: Keyed, path: str) -> None:
    """Every API refuses in its own shape, and says which scheme it wants."""
    answer = httpx.get(keyed_service.url + path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    body = answer.json()
    shapes = {"/v1/models": lambda: body["error"]["code"], "/api/models": lambda: body["detail"]}
    assert shapes.get(path, lambda: body["error"]["type"])()


@pytest.mark.parametrize(
    "headers",
    [
        lambda key: {"Authorization": f"Bearer {key}"},
        lambda key: {"authorization": f"bearer {key}"},
        lambda key: {"X-API-Key": key},
    ],
)
def test_both_headers_open(keyed_service: Keyed, headers: Any) -> None:
    """Bearer, whose scheme has no case, and X-API-Key."""
    answer = httpx.get(f"{keyed_service.url}/models", headers=headers(keyed_service.key))
    assert answer.status_code == 200


def test_probes_and_metrics(keyed_service: Keyed) -> None:
    """Probes want no key on either port; metrics are on the second one alone."""
    inside = f"http://127.0.0.1:{keyed_service.metrics_port}"
    for path in ("/livez", "/readyz"):
        assert httpx.get(keyed_service.url + path).status_code == 200
        assert httpx.get(inside + path).status_code == 200
    assert "bentoml" in httpx.get(f"{inside}/metrics").text
    assert httpx.get(f"{keyed_service.url}/metrics").status_code == 404
    answer = httpx.get(f"{inside}/models", headers={"X-API-Key": keyed_service.key})
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found")


def test_a_page_of_another_origin(keyed_service: Keyed) -> None:
    """A browser may ask for one that is configured, with a key; for no other."""
    request = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-api-key",
    }
    for origin, allowed in (("https://maps.example.com", True), ("https://other.example", False)):
        answer = httpx.options(
            f"{keyed_service.url}/geo_embedding", headers={"Origin": origin, **request}
        )
        assert (answer.headers.get("access-control-allow-origin") == origin) == allowed
        assert answer.is_success == allowed


def test_our_own_clients(keyed_service: Keyed) -> None:
    """Both give the same numbers; one bad item of a batch fails alone."""
    request = {"model": "mosaiks", "spatials": [REGION, {**REGION, "lat": 60}], "temporal": JUNE}

    async def at_once() -> list[Any]:
        async with AsyncClient(keyed_service.url, api_key=keyed_service.key) as client:
            return await asyncio.gather(*(client.geo_embedding(request) for _ in range(3)))

    with Client(keyed_service.url, api_key=keyed_service.key) as client:
        (image,) = client.image_embedding({"model": "mosaiks", "images": [IMAGE]})
        result, failed = client.geo_embedding(request)
        assert [served.card.id for served in client.list_models()] == ["mosaiks"]
    assert isinstance(image, Embedding)
    assert isinstance(result, Embedding)
    assert (image.data.shape, str(image.data.dtype)) == ((1024,), "float32")
    assert getattr(failed, "type", None) == "no_imagery"
    for again, _ in asyncio.run(at_once()):
        np.testing.assert_array_equal(again.data, result.data)
    with Client(keyed_service.url, api_key="wrong") as client, pytest.raises(Unauthorized):
        client.list_models()


def test_keys_are_in_no_log(keyed_service: Keyed) -> None:
    """Neither the right one nor a wrong one, which may be right elsewhere."""
    for key in (keyed_service.key, "sesame-of-another-service"):
        httpx.get(f"{keyed_service.url}/models", headers={"Authorization": f"Bearer {key}"})
    text = keyed_service.log.read_text()
    assert "/models" in text
    assert keyed_service.key not in text
    assert "sesame" not in text


def test_required_keys_that_are_not_there(mosaiks_stored: object) -> None:
    """The service does not start, and says which variable is missing."""
    done = subprocess.run(
        [sys.executable, "-c", "import service"],
        cwd=ROOT,
        env={**os.environ, "GEOBENTO_MODELS": "mosaiks", "GEOBENTO_REQUIRE_KEYS": "on"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "GEOBENTO_REQUIRE_KEYS: there are no keys" in done.stderr
