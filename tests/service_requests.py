"""Requests to a service with `mosaiks`, and checks of its responses."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import numpy as np
from PIL import Image

from geobento.schemas import serialization
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError

REGION = {"type": "PointBuffer", "lon": 34.066, "lat": -3.401, "buffer_m": 1000}

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
