"""The OpenAPI document, written from the types of the contract."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from geobento.cards import ModelList, ServedModel
from geobento.embedding import ClassificationMeta, EmbeddingMeta
from geobento.errors import (
    DeadlineExceeded,
    GeoBentoError,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    NoImageryError,
    Overloaded,
    PayloadTooLarge,
    QuotaError,
    SourceError,
    UnsupportedMediaType,
)
from geobento.requests import (
    EmbeddingResponse,
    ErrorBody,
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
    ZeroShotResponse,
)

WRITTEN: tuple[type[BaseModel], ...] = (
    EmbeddingResponse,
    ZeroShotResponse,
    ErrorBody,
    ModelList,
    ServedModel,
)
TAKEN: tuple[type[BaseModel], ...] = (
    ImageEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
    GeoEmbeddingRequest,
    PixelEmbeddingRequest,
)

REF = "#/components/schemas/{model}"
TAG = "Embeddings"

_BOTH: tuple[type[GeoBentoError], ...] = (
    InvalidRequest,
    ModelNotFound,
    PayloadTooLarge,
    UnsupportedMediaType,
    InternalError,
    Overloaded,
    DeadlineExceeded,
)


def document(description: str, version: str) -> dict[str, Any]:
    """The document of the service.

    Args:
        description: Markdown for the top of the page.
        version: Version of the API.
    """
    schemas = _schemas()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GeoBento",
            "description": description,
            "version": version,
            "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": "."}],
        "tags": [
            {"name": TAG, "description": "Pictures and places into vectors."},
            {"name": "Models", "description": "What is served."},
            {"name": "Infrastructure", "description": "Probes and metrics."},
        ],
        "paths": {
            "/image_embedding": {"post": _image_operation(schemas)},
            "/text_embedding": {"post": _text_operation()},
            "/zero_shot_classification": {"post": _zero_shot_operation(schemas)},
            "/geo_embedding": {"post": _geo_operation(schemas)},
            "/models": {"get": _get("list_models", "The models that are served", ModelList)},
            "/models/{model_id}": {"get": _describe_operation()},
            "/livez": {"get": _probe("livez", "Whether the process is alive")},
            "/readyz": {
                "get": _probe("readyz", "Whether every model has answered its warm-up", Overloaded)
            },
            "/metrics": {"get": _probe("metrics", "Metrics in the format of Prometheus")},
        },
        "components": {"schemas": schemas},
    }


def _schemas() -> dict[str, Any]:
    # Answers are described as they are written, requests as they are read.
    _, written = models_json_schema(
        [(cls, "serialization") for cls in WRITTEN],
        ref_template=REF,
    )
    _, taken = models_json_schema(
        [(cls, "validation") for cls in TAKEN],
        ref_template=REF,
    )
    return {**written["$defs"], **taken["$defs"]}


def _image_operation(schemas: dict[str, Any]) -> dict[str, Any]:
    return _operation(
        "image_embedding",
        "Pictures into vectors",
        ImageEmbeddingRequest,
        _content("One entry per picture, in order", EmbeddingResponse, _answer("mosaiks", "rgb")),
        (*_BOTH, SourceError),
        _picture_forms(schemas, ImageEmbeddingRequest),
    )


def _text_operation() -> dict[str, Any]:
    answer = _answer("clip_vit_large_patch14", "text")
    return _operation(
        "text_embedding",
        "Texts into vectors",
        TextEmbeddingRequest,
        _content("One entry per text, in order", EmbeddingResponse, answer),
        _BOTH,
    )


def _zero_shot_operation(schemas: dict[str, Any]) -> dict[str, Any]:
    meta = ClassificationMeta(
        model="clip_vit_large_patch14",
        tag="clip_vit_large_patch14:0123456789abcdef",
        variant="vit_l_14",
        weights="9f86d081884c7d65",
        logit_scale=100.0,
        template="a satellite picture of a {}",
        precision="float32",
        preprocessing="26b3c04a188128f4",
    )
    result = {"probabilities": [0.94, 0.06], "meta": meta.model_dump(mode="json")}
    answer = {"model": meta.model, "classes": ["forest", "harbour"], "results": [result]}
    return _operation(
        "zero_shot_classification",
        "Pictures into probabilities of classes",
        ZeroShotRequest,
        _content("One entry per picture, in order", ZeroShotResponse, answer),
        (*_BOTH, SourceError),
        _picture_forms(schemas, ZeroShotRequest),
    )


def _picture_forms(schemas: dict[str, Any], request: type[BaseModel]) -> dict[str, Any]:
    """Other bodies than JSON of an operation that takes pictures, and their parameters."""
    schema = schemas[request.__name__]
    described = {name: field for name, field in schema["properties"].items() if name != "images"}
    files = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "format": "binary"},
        "description": "One file per picture, under the same field name.",
    }
    form = {
        "type": "object",
        "required": schema["required"],
        "properties": {**described, "images": files},
    }
    return {
        "bodies": {
            "multipart/form-data": {"schema": form},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": f"Only with a bare picture as the body. {field['description']}",
                **_query_form(field),
            }
            for name, field in described.items()
        ],
    }


def _query_form(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema; one that is an object is written as JSON."""
    plain = {name: value for name, value in schema.items() if name != "description"}
    if plain.get("type") == "object":
        return {"content": {"application/json": {"schema": plain}}}
    return {"schema": plain}


def _geo_operation(schemas: dict[str, Any]) -> dict[str, Any]:
    return _operation(
        "geo_embedding",
        "Places, or pixels of your own, into vectors",
        GeoEmbeddingRequest,
        _content("One entry per place, in order", EmbeddingResponse, _answer("mosaiks", "s2")),
        (*_BOTH, NoImageryError, QuotaError, SourceError),
        {"bodies": {"multipart/form-data": _pixel_form(schemas)}, "parameters": []},
    )


def _pixel_form(schemas: dict[str, Any]) -> dict[str, Any]:
    """A file of pixels and what is said of it: text as it is, everything else as JSON."""
    described = schemas[PixelEmbeddingRequest.__name__]["properties"]
    encoding = {
        name: {"contentType": "application/json"}
        for name, schema in described.items()
        if not any(one.get("type") == "string" for one in schema.get("anyOf", [schema]))
    }
    return {"schema": _ref(PixelEmbeddingRequest), "encoding": encoding}


def _operation(
    name: str,
    summary: str,
    request: type[BaseModel],
    answer: dict[str, Any],
    errors: tuple[type[GeoBentoError], ...],
    other_forms: dict[str, Any] | None = None,
) -> dict[str, Any]:
    forms = other_forms or {"bodies": {}, "parameters": []}
    return {
        "operationId": name,
        "summary": summary,
        "description": request.__doc__,
        "tags": [TAG],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref(request)}, **forms["bodies"]},
        },
        "parameters": forms["parameters"],
        "responses": {"200": answer, **_failures(*errors)},
    }


def _answer(model: str, modality: str) -> dict[str, Any]:
    """An answer with one embedding and one failure, most numbers left out."""
    meta = EmbeddingMeta(
        model=model,
        type="on_the_fly",
        tag=f"{model}:0123456789abcdef",
        variant="...",
        weights="9f86d081884c7d65",
        dim=1024,
        modality=modality,
        pooling="authors",
        cls_removed=False,
        normalized=False,
        precision="float32",
        preprocessing="26b3c04a188128f4",
    )
    item = {"data": [0.0812, 0.0007], "shape": [1024], "dtype": "float32"}
    entries = [{**item, "meta": meta.model_dump(mode="json")}, InternalError("...").body()]
    return {"model": model, "dim": 1024, "embeddings": entries}


def _describe_operation() -> dict[str, Any]:
    operation = _get("describe_model", "The card of a model", ServedModel)
    operation["parameters"] = [
        {
            "name": "model_id",
            "in": "path",
            "required": True,
            "description": "Id or alias.",
            "schema": {"type": "string"},
            "example": "mosaiks",
        }
    ]
    operation["responses"] |= _failures(ModelNotFound)
    return operation


def _get(name: str, summary: str, answer: type[BaseModel]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["Models"],
        "responses": {"200": _content(summary, answer), **_failures(Overloaded)},
    }


def _failures(*errors: type[GeoBentoError]) -> dict[str, Any]:
    return {
        str(error.status): _failure(error)
        for error in sorted(errors, key=lambda error: error.status)
    }


def _failure(error: type[GeoBentoError]) -> dict[str, Any]:
    meaning = (error.__doc__ or "").split("\n")[0]
    return _content(meaning, ErrorBody, error(meaning).body())


def _content(
    description: str, cls: type[BaseModel], example: dict[str, Any] | None = None
) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": _ref(cls)}
    if example is not None:
        content["example"] = example
    return {"description": description, "content": {"application/json": content}}


def _ref(cls: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=cls.__name__)}


def _probe(name: str, summary: str, *errors: type[GeoBentoError]) -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["Infrastructure"],
        "responses": {"200": {"description": summary, "content": text}, **_failures(*errors)},
    }
