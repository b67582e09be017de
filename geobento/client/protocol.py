"""Requests as they go to a server, and its answers as they come back. Without I/O."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
import orjson
from pydantic import BaseModel

from geobento.backoff import parse_retry_after
from geobento.schemas import serialization
from geobento.schemas.cards import ModelList, ServedModel
from geobento.schemas.embedding import Classification, Embedding
from geobento.schemas.errors import (
    GeoBentoError,
    Overloaded,
    SourceError,
    SourceUnavailable,
    by_status,
    from_body,
)
from geobento.schemas.plan import EmbeddingPlan, Inspection
from geobento.schemas.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from geobento.schemas.validation import validated

Result = TypeVar("Result")
Record = TypeVar("Record", bound=BaseModel)

Fields = Mapping[str, Any]
"""A request by its fields."""

TEXT_LISTS = ("classes",)
"""Fields that a form repeats, once per text."""


@dataclass(frozen=True)
class Call(Generic[Result]):
    """One request.

    Attributes:
        method: HTTP method.
        path: Where.
        decode: What the body of an answer with status 200 is.
        content: The body, as httpx takes it.
    """

    method: str
    path: str
    decode: Callable[[bytes], Result]
    content: dict[str, Any] = field(default_factory=dict)


def list_models() -> Call[list[ServedModel]]:
    """What can be asked for."""
    return Call("GET", "/models", lambda body: ModelList.model_validate_json(body).models)


def describe_model(name: str) -> Call[ServedModel]:
    """One of them, by id or alias."""
    return Call("GET", f"/models/{quote(name, safe='')}", ServedModel.model_validate_json)


def image_embedding(
    request: ImageEmbeddingRequest | Fields,
) -> Call[list[Embedding | GeoBentoError]]:
    """Pictures into vectors."""
    content = _with_image_files(_to_request(ImageEmbeddingRequest, request))
    return Call("POST", "/image_embedding", serialization.decode_embeddings, content)


def text_embedding(request: TextEmbeddingRequest | Fields) -> Call[list[Embedding | GeoBentoError]]:
    """Texts into vectors."""
    content = {"json": _dump_fields(_to_request(TextEmbeddingRequest, request))}
    return Call("POST", "/text_embedding", serialization.decode_embeddings, content)


def zero_shot_classification(
    request: ZeroShotRequest | Fields,
) -> Call[list[Classification | GeoBentoError]]:
    """Pictures into probabilities of classes."""
    content = _with_image_files(_to_request(ZeroShotRequest, request))
    return Call("POST", "/zero_shot_classification", serialization.decode_classifications, content)


def pixel_embedding(
    request: PixelEmbeddingRequest | Fields,
) -> Call[list[Embedding | GeoBentoError]]:
    """Pixels into a vector or a grid."""
    made = _to_request(PixelEmbeddingRequest, request)
    form = _to_form(_dump_fields(made, exclude={"pixels"}))
    files = [("pixels", ("pixels", made.pixels))]
    return Call(
        "POST", "/geo_embedding", serialization.decode_embeddings, {"data": form, "files": files}
    )


def geo_embedding(request: GeoEmbeddingRequest | Fields) -> Call[list[Embedding | GeoBentoError]]:
    """Places into vectors or grids."""
    content = {"json": _dump_fields(_to_request(GeoEmbeddingRequest, request))}
    return Call("POST", "/geo_embedding", serialization.decode_embeddings, content)


def plan_embedding(request: GeoEmbeddingRequest | Fields) -> Call[EmbeddingPlan]:
    """What a request would do."""
    content = {"json": _dump_fields(_to_request(GeoEmbeddingRequest, request))}
    return Call("POST", "/geo_embedding/plan", EmbeddingPlan.model_validate_json, content)


def inspect_patch(request: InspectRequest | Fields) -> Call[Inspection]:
    """What the pixels of a place are like."""
    content = {"json": _dump_fields(_to_request(InspectRequest, request))}
    return Call("POST", "/inspect", Inspection.model_validate_json, content)


def decode_response(call: Call[Result], response: httpx.Response, url: str) -> Result:
    """What the server answered.

    Args:
        call: What it was asked.
        response: Its answer, read.
        url: Where it is.

    Raises:
        GeoBentoError: It answered with an error, or is no GeoBento server.
    """
    if not response.is_success:
        raise _error_from_response(response, url)
    try:
        return call.decode(response.content)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SourceError(f"what {url} answers to {call.path} is not from GeoBento") from None


def connection_error(error: httpx.TransportError, url: str) -> GeoBentoError:
    """The error that stands for a connection that gave no answer."""
    if isinstance(error, httpx.TimeoutException):
        return Overloaded(f"no answer from {url} in time")
    if isinstance(error, httpx.UnsupportedProtocol):
        return SourceError(f"{url} is no address of a server; accepted: http:// and https://")
    return SourceUnavailable(f"no GeoBento server answers at {url}: {error}")


def _error_from_response(response: httpx.Response, url: str) -> GeoBentoError:
    status = response.status_code
    retry_after = parse_retry_after(response.headers.get("retry-after"), datetime.now(UTC))
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return by_status(status)(f"{url} answered {status}", retry_after=retry_after)
    return from_body(body, status, retry_after)


def _to_request(cls: type[Record], request: Record | Fields) -> Record:
    return request if isinstance(request, cls) else validated(cls, request)


def _dump_fields(request: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """The fields of a request as JSON values; arrays come back as base64."""
    fields = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=exclude)
    return {**fields, "encoding": "base64"} if "encoding" in fields else fields


def _to_form(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as they stand in a form: text as it is, everything else as JSON."""
    return {
        name: value if name in TEXT_LISTS else _form_text(value) for name, value in fields.items()
    }


def _form_text(value: Any) -> str:
    # JSON has no infinities and no NaN.
    if isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return orjson.dumps(value).decode()


def _with_image_files(request: ImageEmbeddingRequest | ZeroShotRequest) -> dict[str, Any]:
    """What to send of a request with pictures: a form where all are bytes, JSON otherwise."""
    fields = _dump_fields(request, exclude={"images"})
    if all(isinstance(image, bytes) for image in request.images):
        return {
            "data": _to_form(fields),
            "files": [("images", ("image", image)) for image in request.images],
        }
    images = [
        base64.b64encode(image).decode() if isinstance(image, bytes) else image
        for image in request.images
    ]
    return {"json": {**fields, "images": images}}
