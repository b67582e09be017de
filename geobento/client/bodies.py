"""Bodies of HTTP requests, as keyword arguments of httpx. Pure."""

from __future__ import annotations

import base64
import math
from typing import Any

import orjson
from pydantic import BaseModel

from geobento.schemas.requests import ImageEmbeddingRequest, PixelEmbeddingRequest, ZeroShotRequest

REPEATED_TEXT_FIELDS = ("classes",)
"""Fields that a form repeats, once per text."""


def no_body(_: Any) -> dict[str, Any]:
    """No body."""
    return {}


def as_json(request: BaseModel) -> dict[str, Any]:
    """The request as JSON."""
    return {"json": _fields(request)}


def with_images(request: ImageEmbeddingRequest | ZeroShotRequest) -> dict[str, Any]:
    """A request with images: a form if all images are bytes, JSON otherwise."""
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


def with_pixels(request: PixelEmbeddingRequest) -> dict[str, Any]:
    """A request with pixels: a form with the file."""
    return {
        "data": _form(_fields(request, exclude={"pixels"})),
        "files": [("pixels", ("pixels", request.pixels))],
    }


def _fields(request: BaseModel, exclude: set[str] | None = None) -> dict[str, Any]:
    """The fields of a request as JSON values; responses shall have arrays in base64."""
    fields = request.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=exclude)
    return {**fields, "encoding": "base64"} if "encoding" in fields else fields


def _form(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a form: text unchanged, everything else as JSON."""
    return {
        name: value if name in REPEATED_TEXT_FIELDS else _form_text(value)
        for name, value in fields.items()
    }


def _form_text(value: Any) -> str:
    # JSON has no infinities and no NaN.
    if isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    return orjson.dumps(value).decode()
