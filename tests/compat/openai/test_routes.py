"""OpenAI's API, driven by OpenAI's own client against the live service."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from geobento.schemas import serialization
from tests.conftest import ROOT

openai = pytest.importorskip("openai")

MODEL = "clip_vit_large_patch14"
IMAGE = (
    "data:image/jpeg;base64,"
    + base64.b64encode((ROOT / "tests" / "data" / "field.jpg").read_bytes()).decode()
)


@pytest.fixture(scope="module")
def client(small_service: httpx.Client) -> Iterator[Any]:
    """OpenAI's client."""
    url = f"{small_service.base_url}/v1".replace("//v1", "/v1")
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as made:
        yield made


def vectors(answer: Any) -> np.ndarray[Any, Any]:
    """The vectors of an answer, whose order is checked."""
    assert [datum.index for datum in answer.data] == list(range(len(answer.data)))
    return np.array([datum.embedding for datum in answer.data], np.float32)


def test_texts(client: Any, small_service: httpx.Client) -> None:
    """The vectors are those of `/text_embedding`, in both encodings; tokens are counted."""
    texts = ["a field", "a harbour"]
    own = serialization.decode_embeddings(
        small_service.post("/text_embedding", json={"model": MODEL, "texts": texts}).content
    )
    expected = np.stack([entry.data for entry in own])  # type: ignore[union-attr]
    for encoding in ("float", "base64"):
        answer = client.embeddings.create(model=MODEL, input=texts, encoding_format=encoding)
        result = answer.data
        if encoding == "base64" and isinstance(result[0].embedding, str):
            decoded = [np.frombuffer(base64.b64decode(d.embedding), "<f4") for d in result]
            np.testing.assert_allclose(np.stack(decoded), expected, atol=1e-6)
        else:
            np.testing.assert_allclose(vectors(answer), expected, atol=1e-6)
    assert answer.model == MODEL
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 9 + 11
    single = client.embeddings.create(model="clip_vit_l_14", input=texts[0])
    np.testing.assert_allclose(vectors(single)[0], expected[0], atol=1e-6)


def test_images_in_all_forms(client: Any, small_service: httpx.Client) -> None:
    """Every form that clients send gives the vector of `/image_embedding`, between texts."""
    own = small_service.post("/image_embedding", json={"model": MODEL, "images": [IMAGE]})
    (expected,) = serialization.decode_embeddings(own.content)
    bare = IMAGE.partition(",")[2]
    forms: list[Any] = [
        IMAGE,
        {"image": IMAGE},
        {"image": bare},
        {"type": "image_url", "image_url": {"url": IMAGE}},
        {"image_url": IMAGE},
        {"content": [{"type": "image_url", "image_url": {"url": IMAGE}}]},
    ]
    result = vectors(client.embeddings.create(model=MODEL, input=["a", *forms, {"text": "a"}]))
    np.testing.assert_allclose(result[0], result[-1], atol=1e-6)
    for vector in result[1:-1]:
        np.testing.assert_allclose(vector, expected.data, atol=1e-6)  # type: ignore[union-attr]
    as_infinity = client.embeddings.create(
        model=MODEL, input=[bare], extra_body={"modality": "image"}
    )
    np.testing.assert_allclose(vectors(as_infinity)[0], result[1], atol=1e-6)


def test_a_model_of_images_alone(client: Any) -> None:
    """It embeds images, and says what it does not read."""
    assert vectors(client.embeddings.create(model="mosaiks", input=[IMAGE])).shape == (1, 1024)
    with pytest.raises(openai.BadRequestError, match="mosaiks reads no texts"):
        client.embeddings.create(model="mosaiks", input=["a"])


@pytest.mark.parametrize(
    ("fields", "error", "param", "code", "message"),
    [
        ({"input": []}, "BadRequestError", "input", "invalid_request", "input is empty"),
        ({"input": ""}, "BadRequestError", "input", "invalid_request", "input is empty"),
        ({"input": ["a", ""]}, "BadRequestError", "input.1", "invalid_request", "is empty"),
        ({"input": [[1, 2]]}, "BadRequestError", "input.0", "invalid_request", "token ids"),
        ({"input": [3]}, "BadRequestError", "input.0", "invalid_request", "token ids"),
        ({"input": [{}]}, "BadRequestError", "input.0", "invalid_request", "exactly one value"),
        ({"input": [{"x": 1}]}, "BadRequestError", "input.0", "invalid_request", "accepted: a te"),
        (
            {"input": ["a", {"image": "%"}]},
            "BadRequestError",
            "input.1",
            "invalid_image",
            "base64",
        ),
        (
            {"input": [{"content": [{"text": "a"}, {"text": "b"}]}]},
            "BadRequestError",
            "input.0.content",
            "invalid_request",
            "2 parts",
        ),
        ({"dimensions": 7}, "BadRequestError", "dimensions", "model_error", "length 24 and no"),
        ({"model": "gpt"}, "NotFoundError", "model", "model_not_found", "available: clip"),
    ],
)
def test_rejected_requests(
    client: Any, fields: dict[str, Any], error: str, param: str, code: str, message: str
) -> None:
    """Errors arrive as the client's own exceptions, with parameter and code."""
    with pytest.raises(getattr(openai, error), match=message) as caught:
        client.embeddings.create(**{"model": MODEL, "input": "a", **fields})
    assert caught.value.param == param
    assert caught.value.code == code
    assert caught.value.type == "invalid_request_error"


def test_its_own_length_can_be_asked_for(client: Any) -> None:
    """`dimensions` is accepted where nothing has to be cut."""
    assert vectors(client.embeddings.create(model=MODEL, input="a", dimensions=24)).shape == (1, 24)


def test_models(client: Any) -> None:
    """They are listed, and found by alias."""
    listed = {model.id for model in client.models.list()}
    assert listed == {MODEL, "dino_v2_vits14", "mosaiks"}
    result = client.models.retrieve("clip-vit-large-patch14")
    assert (result.id, result.object) == (MODEL, "model")
    assert result.created > 1_600_000_000
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt'"):
        client.models.retrieve("gpt")


def test_errors_of_other_layers(client: Any, small_service: httpx.Client) -> None:
    """Unknown routes, wrong methods and bodies have OpenAI's shape, too."""
    with pytest.raises(openai.NotFoundError) as caught:
        client.get("/chat/completions", cast_to=object)
    assert caught.value.code == "not_found"
    for answer, status, code in (
        (small_service.get("/v1/embeddings"), 405, "method_not_allowed"),
        (small_service.post("/v1/embeddings", content=b"{"), 400, "invalid_request"),
        (small_service.post("/v1/embeddings", data={"a": "b"}), 415, "unsupported_media_type"),
    ):
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.json()["error"]["code"] == code


def test_null_is_absent(client: Any) -> None:
    """LiteLLM sends null for every parameter that is not set."""
    absent = {"encoding_format": None, "modality": None, "dimensions": None, "user": None}
    body = {"model": MODEL, "input": ["a field"]}
    plain = client.post("/embeddings", body=body, cast_to=object)
    assert client.post("/embeddings", body={**body, **absent}, cast_to=object) == plain


def test_unknown_parameters_are_ignored_and_named(small_service: httpx.Client) -> None:
    """Other servers know more of them; a header says which this one does not."""
    body = {"model": MODEL, "input": "a field", "input_type": "query", "drop_params": True}
    answer = small_service.post("/v1/embeddings", json={**body, "x\n\u00e9": 1})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ignored-parameters"] == "drop_params, input_type, x%0A%C3%A9"
    plain = small_service.post("/v1/embeddings", json={"model": MODEL, "input": "a field"})
    assert "x-ignored-parameters" not in plain.headers
    assert plain.json()["data"] == answer.json()["data"]


def test_many_texts(client: Any) -> None:
    """More than in one request of GeoBento's own, in order; LangChain sends 1000 at a time."""
    texts = [f"field {number}" for number in range(1000)]
    result = vectors(client.embeddings.create(model=MODEL, input=texts))
    assert result.shape[0] == 1000
    picked = [0, 255, 256, 999]
    expected = client.embeddings.create(model=MODEL, input=[texts[number] for number in picked])
    np.testing.assert_allclose(result[picked], vectors(expected), atol=1e-5)


def test_too_many_texts(client: Any) -> None:
    """The limit is that of OpenAI."""
    with pytest.raises(openai.APIStatusError, match=r"2049 inputs.*up to 2048") as caught:
        client.embeddings.create(model=MODEL, input=["a"] * 2049)
    assert caught.value.status_code == 413
    assert caught.value.param == "input"
