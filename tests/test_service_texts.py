"""Texts and zero-shot classification, over HTTP."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest

from geobento.schemas import serialization
from geobento.schemas.embedding import Classification, Embedding
from geobento.schemas.errors import GeoBentoError, InvalidRequest
from tests.conftest import ROOT

FIELD = (ROOT / "tests" / "data" / "field.jpg").read_bytes()
CLASSES = ["forest", "harbour"]


def texts(client: httpx.Client, *given: str, **fields: Any) -> httpx.Response:
    """A request of `/text_embedding`."""
    body = {"model": "clip_vit_l_14", "texts": list(given), **fields}
    return client.post("/text_embedding", json=body)


def test_texts_become_vectors(small_service: httpx.Client) -> None:
    """Both encodings give the same unit vectors, in order; a bad text is an entry of its own."""
    answer = texts(small_service, "a field", "", "ein Hafen")
    assert answer.status_code == 200, answer.text
    first, bad, last = serialization.decode_embeddings(answer.content)
    assert isinstance(first, Embedding)
    assert isinstance(bad, InvalidRequest)
    assert bad.field == "texts.1"
    assert first.data.shape == (answer.json()["dim"],)
    packed = texts(small_service, "ein Hafen", encoding="base64")
    (again,) = serialization.decode_embeddings(packed.content)
    np.testing.assert_allclose(again.data, last.data, atol=1e-6)  # type: ignore[union-attr]


def test_all_ways_to_send_images_with_classes_agree(small_service: httpx.Client) -> None:
    """JSON, multipart and a bare image give the same probabilities."""
    template = "an image of a {}"
    fields = {"model": "clip_vit_l_14", "classes": CLASSES, "template": template}
    answers = [
        small_service.post(
            "/zero_shot_classification",
            json={**fields, "images": [base64.b64encode(FIELD).decode()]},
        ),
        small_service.post("/zero_shot_classification", data=fields, files=[("images", FIELD)]),
        small_service.post(
            "/zero_shot_classification",
            data={**fields, "classes": json.dumps(CLASSES)},
            files=[("images", FIELD)],
        ),
        small_service.post(
            "/zero_shot_classification",
            params=fields,
            content=FIELD,
            headers={"content-type": "image/jpeg"},
        ),
    ]
    result = []
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.json()["classes"] == CLASSES
        (entry,) = serialization.decode_classifications(answer.content)
        assert isinstance(entry, Classification)
        assert entry.meta.template == template
        result.append(entry.probabilities)
    assert result[0].sum() == pytest.approx(1, abs=1e-6)
    for other in result[1:]:
        np.testing.assert_allclose(other, result[0], atol=1e-6)


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/text_embedding", {"model": "clip_vit_l_14"}, 400, "texts"),
        ("/text_embedding", {"model": "clip_vit_l_14", "texts": []}, 400, "texts"),
        ("/text_embedding", {"model": "clip_vit_l_14", "texts": "a"}, 400, "texts"),
        ("/text_embedding", {"model": "mosaiks", "texts": ["a"]}, 400, "model"),
        ("/text_embedding", {"model": "nope", "texts": ["a"]}, 404, "model"),
        ("/text_embedding", {"model": "clip_vit_l_14", "texts": [""]}, 400, "texts.0"),
        (
            "/zero_shot_classification",
            {"model": "dinov2-small", "images": ["aGk="], "classes": ["a"]},
            400,
            "model",
        ),
        (
            "/zero_shot_classification",
            {"model": "clip_vit_l_14", "images": ["aGk="], "classes": ["a"]},
            400,
            "images.0",
        ),
    ],
)
def test_rejected_requests(
    small_service: httpx.Client, path: str, body: dict[str, Any], status: int, field: str
) -> None:
    """The status, and which field is at fault."""
    answer = small_service.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["field"] == field


def test_python_asks_the_server_as_it_asks_itself(
    small_service: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions give the same answers in-process and by HTTP."""
    from geobento import classify_images, get_text_embeddings

    def ask() -> tuple[Embedding, Classification]:
        (text,) = get_text_embeddings("clip_vit_l_14", ["a field"])
        (result,) = classify_images("clip_vit_l_14", [FIELD], CLASSES, template="a {}")
        return text, result

    tag = small_service.get("/models/clip_vit_l_14").json()["tag"]
    monkeypatch.setenv("GEOBENTO_MODELS", tag)
    here_text, here_found = ask()
    monkeypatch.setenv("GEOBENTO_URL", str(small_service.base_url))
    there_text, there_found = ask()
    np.testing.assert_allclose(here_text.data, there_text.data, atol=1e-6)
    np.testing.assert_allclose(here_found.probabilities, there_found.probabilities, atol=1e-6)
    assert here_found.meta == there_found.meta
    with pytest.raises(GeoBentoError) as caught:
        get_text_embeddings("clip_vit_l_14", ["a", " "])
    assert caught.value.field == "texts.1"
