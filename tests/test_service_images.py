"""Images over HTTP."""

from __future__ import annotations

import base64

import httpx
import numpy as np
import pytest

from geobento.schemas.embedding import Embedding
from tests.service_requests import data_url, error, image, images, vectors


def test_all_ways_to_send_an_image_agree(client: httpx.Client) -> None:
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
    ("payload", "message"),
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
def test_a_bad_image_is_the_clients_fault(client: httpx.Client, payload: str, message: str) -> None:
    """A single image that cannot be read is a 400 that says what is accepted."""
    result = error(images(client, payload), 400, "invalid_image")
    assert message in result["message"]
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
