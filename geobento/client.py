"""The HTTP client: the same answers as in-process, from a server."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import orjson
from pydantic import BaseModel

from geobento import wire
from geobento.cards import ModelList, ServedModel
from geobento.embedding import Classification, Embedding
from geobento.errors import GeoBentoError, Overloaded, SourceError, by_status, from_body
from geobento.look import EmbeddingPlan, Inspection
from geobento.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)

Answers = TypeVar("Answers")

TEXT_LISTS = ("classes",)
"""Fields that a form repeats, once per text."""


class HttpEngine:
    """Answers requests by asking a GeoBento server.

    Args:
        url: Where the server listens, such as ``http://localhost:3000``.
        timeout_s: Longest wait for one answer.
        transport: For tests.
    """

    def __init__(
        self, url: str, timeout_s: float = 120, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout_s, transport=transport)

    def list_models(self) -> list[ServedModel]:
        """What can be asked for."""
        answer = self._send("GET", "/models")
        try:
            return ModelList.model_validate_json(answer.content).models
        except ValueError:
            raise self._not_ours("/models") from None

    def describe_model(self, name: str) -> ServedModel:
        """One of them, by id or alias."""
        path = f"/models/{quote(name, safe='')}"
        answer = self._send("GET", path)
        try:
            return ServedModel.model_validate_json(answer.content)
        except ValueError:
            raise self._not_ours(path) from None

    def image_embedding(self, request: ImageEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per picture, in order."""
        return self._asked("/image_embedding", wire.decode_answer, **_with_pictures(request))

    def text_embedding(self, request: TextEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per text, in order."""
        return self._asked("/text_embedding", wire.decode_answer, json=_fields(request))

    def zero_shot_classification(
        self, request: ZeroShotRequest
    ) -> list[Classification | GeoBentoError]:
        """One answer per picture, in order."""
        return self._asked(
            "/zero_shot_classification", wire.decode_classifications, **_with_pictures(request)
        )

    def pixel_embedding(self, request: PixelEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """The answer for the pixels of the request."""
        form = _form(_fields(request, exclude={"pixels"}))
        files = [("pixels", ("pixels", request.pixels))]
        return self._asked("/geo_embedding", wire.decode_answer, data=form, files=files)

    def geo_embedding(self, request: GeoEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per place, in order."""
        return self._asked("/geo_embedding", wire.decode_answer, json=_fields(request))

    def plan_embedding(self, request: GeoEmbeddingRequest) -> EmbeddingPlan:
        """What a request would do."""
        decode = EmbeddingPlan.model_validate_json
        return self._asked("/geo_embedding/plan", decode, json=_fields(request))

    def inspect_patch(self, request: InspectRequest) -> Inspection:
        """What the pixels of a place are like."""
        return self._asked("/inspect", Inspection.model_validate_json, json=_fields(request))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _asked(self, path: str, decode: Callable[[bytes], Answers], **content: Any) -> Answers:
        answer = self._send("POST", path, **content)
        try:
            return decode(answer.content)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._not_ours(path) from None

    def _not_ours(self, path: str) -> SourceError:
        return SourceError(f"what {self._http.base_url} answers to {path} is not from GeoBento")

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **content)
        except httpx.TimeoutException:
            raise Overloaded(f"no answer from {self._http.base_url} in time") from None
        except httpx.TransportError as error:
            raise SourceError(
                f"no GeoBento server answers at {self._http.base_url}: {error}"
            ) from None
        if answer.is_success:
            return answer
        try:
            body = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            raise by_status(answer.status_code)(
                f"{self._http.base_url} answered {answer.status_code}"
            ) from None
        raise from_body(body, answer.status_code, _seconds(answer.headers.get("retry-after")))


def _seconds(text: str | None) -> float | None:
    """A Retry-After header that is a number of seconds."""
    return float(text) if text is not None and text.isdigit() else None


def _fields(request: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """The fields of a request as JSON values; arrays come back as base64."""
    fields = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=exclude)
    return {**fields, "encoding": "base64"} if "encoding" in fields else fields


def _form(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as they stand in a form: text as it is, everything else as JSON."""
    return {
        name: value if name in TEXT_LISTS else _form_text(value) for name, value in fields.items()
    }


def _form_text(value: Any) -> str:
    # JSON has no infinities and no NaN.
    if isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return orjson.dumps(value).decode()


def _with_pictures(request: ImageEmbeddingRequest | ZeroShotRequest) -> dict[str, Any]:
    """What to send of a request with pictures: a form where all are bytes, JSON otherwise."""
    fields = _fields(request, exclude={"images"})
    if all(isinstance(image, bytes) for image in request.images):
        return {
            "data": _form(fields),
            "files": [("images", ("image", image)) for image in request.images],
        }
    images = [
        base64.b64encode(image).decode() if isinstance(image, bytes) else image
        for image in request.images
    ]
    return {"json": {**fields, "images": images}}
