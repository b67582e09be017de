"""The OpenAPI document, written from the types of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from geobento.client import operations
from geobento.schemas.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    ModelNotFound,
    NoImageryError,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    QuotaError,
    RateLimited,
    SourceError,
    SourceUnavailable,
    Unauthorized,
    UnsupportedMediaType,
)
from geobento.schemas.requests import ImageEmbeddingRequest, PixelEmbeddingRequest, ZeroShotRequest
from server.openapi import examples
from server.openapi.operations import (
    REF_TEMPLATE,
    AlternateBodies,
    AlternateBody,
    ErrorOrType,
    Operation,
    Parameter,
    Tag,
    component_schemas,
    operation_tags,
    path_items,
)

DESCRIPTION = """Pictures and places into vectors.

`POST /image_embedding` takes pictures, `POST /geo_embedding` a place and a time window for which
the service fetches satellite imagery, or as multipart pixels of your own;
`POST /geo_embedding/plan` says what that request would do, `POST /inspect` what the pixels are
like. `POST /text_embedding` and `POST /zero_shot_classification` are for models that read texts,
too. `GET /models` says what is served. `/v1` is OpenAI's embeddings API, `/api` that of vitrivr's
feature extraction server."""

EMBEDDINGS = Tag("Embeddings", "Pictures and places into vectors.")
PLANNING = Tag("Look before you leap", "What a request would do, what its pixels are like.")
MODELS = Tag("Models", "What is served.")
INFRASTRUCTURE = Tag("Infrastructure", "Probes and metrics.")

_KEY_DESCRIPTION = "Where the service wants an API key."
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": _KEY_DESCRIPTION},
    "header": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": _KEY_DESCRIPTION,
    },
}

_COMMON_ERRORS: tuple[ErrorOrType, ...] = (
    InvalidRequest,
    ModelNotFound,
    PayloadTooLarge,
    UnsupportedMediaType,
    InternalError,
    Overloaded,
    DeadlineExceeded,
)
_REGION_ERRORS: tuple[ErrorOrType, ...] = (
    *_COMMON_ERRORS,
    NoImageryError,
    QuotaError,
    SourceError,
    SourceUnavailable,
)


def build_document(version: str, extra_operations: Sequence[Operation] = ()) -> dict[str, Any]:
    """The document of the service.

    Args:
        version: Version of the API.
        extra_operations: Operations beside our own.
    """
    operations = [_with_key_errors(operation) for operation in (*_operations(), *extra_operations)]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GeoBento",
            "description": DESCRIPTION,
            "version": version,
            "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": "."}],
        "tags": operation_tags(operations),
        "paths": path_items(operations),
        "components": {
            "schemas": component_schemas(operations),
            "securitySchemes": SECURITY_SCHEMES,
        },
        "security": [{}, *({name: []} for name in SECURITY_SCHEMES)],
    }


def _with_key_errors(operation: Operation) -> Operation:
    """The operation with what a service that wants API keys may answer besides."""
    if operation.is_public:
        return operation
    return replace(operation, errors=(*operation.errors, Unauthorized, RateLimited))


def _operations() -> list[Operation]:
    return [
        _describe(
            operations.IMAGE_EMBEDDING,
            EMBEDDINGS,
            (*_COMMON_ERRORS, SourceError),
            alternate_bodies=_image_forms(ImageEmbeddingRequest),
            response_description="One entry per image, in order",
            response_example=examples.embedding_response("mosaiks", "rgb"),
        ),
        _describe(
            operations.TEXT_EMBEDDING,
            EMBEDDINGS,
            _COMMON_ERRORS,
            response_description="One entry per text, in order",
            response_example=examples.embedding_response("clip_vit_large_patch14", "text"),
        ),
        _describe(
            operations.ZERO_SHOT_CLASSIFICATION,
            EMBEDDINGS,
            (*_COMMON_ERRORS, SourceError),
            alternate_bodies=_image_forms(ZeroShotRequest),
            response_description="One entry per image, in order",
            response_example=examples.classification_response(),
        ),
        # The path takes the fields of two operations: JSON with regions, a form with pixels.
        _describe(
            operations.GEO_EMBEDDING,
            EMBEDDINGS,
            _REGION_ERRORS,
            alternate_bodies=AlternateBodies(
                {"multipart/form-data": AlternateBody(PixelEmbeddingRequest, _multipart_encoding())}
            ),
            summary="Embed regions, or user-supplied pixels.",
            response_description="One entry per region, in order",
            response_example=examples.embedding_response("mosaiks", "s2"),
        ),
        _describe(
            operations.PLAN_EMBEDDING,
            PLANNING,
            _REGION_ERRORS,
            response_description="One entry per region, in order; no pixel was fetched",
            response_example=examples.plan_response(),
        ),
        _describe(
            operations.INSPECT_PATCH,
            PLANNING,
            _REGION_ERRORS,
            response_description="Statistics of every band, and an image",
            response_example=examples.inspection_response(),
        ),
        _describe(operations.LIST_MODELS, MODELS, (Overloaded,)),
        _describe(
            operations.DESCRIBE_MODEL,
            MODELS,
            (ModelNotFound, Overloaded),
            parameters={"model_id": Parameter("Id or alias.", "mosaiks")},
        ),
        _probe_operation("livez", "Whether the process is alive"),
        _probe_operation("readyz", "Whether every model has answered its warm-up", Overloaded),
        _probe_operation(
            "metrics", "Metrics in the format of Prometheus", NotFound("On another port.")
        ),
    ]


def _describe(
    operation: operations.Operation[Any, Any],
    tag: Tag,
    errors: Sequence[ErrorOrType],
    **more: Any,
) -> Operation:
    """An operation of the table as the document describes it."""
    is_body = issubclass(operation.request, BaseModel)
    return Operation(
        operation.name,
        operation.method.lower(),
        operation.path,
        tag,
        more.pop("summary", operation.summary),
        operation.response,
        tuple(errors),
        operation.request if is_body else None,
        **more,
    )


def _probe_operation(name: str, summary: str, *errors: ErrorOrType) -> Operation:
    return Operation(
        name,
        "get",
        f"/{name}",
        INFRASTRUCTURE,
        summary,
        str,
        errors,
        media_type="text/plain",
        is_public=True,
    )


def _image_forms(request: type[BaseModel]) -> AlternateBodies:
    """Other bodies than JSON of an operation that takes pictures, and their parameters."""
    schema = request.model_json_schema(ref_template=REF_TEMPLATE)
    described = {name: field for name, field in schema["properties"].items() if name != "images"}
    return AlternateBodies(
        {
            "multipart/form-data": AlternateBody(_multipart_model(request)),
            "image/*": AlternateBody({"type": "string", "format": "binary"}),
        },
        [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": f"Only with a bare picture as the body. {field['description']}",
                **_query_parameter(field),
            }
            for name, field in described.items()
        ],
    )


def _multipart_model(request: type[BaseModel]) -> type[BaseModel]:
    """The request as a form, with files for its pictures."""
    files = Annotated[
        list[Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]],
        Field(min_length=1, description="One file per picture, under the same field name."),
    ]
    parts = {
        "__module__": __name__,
        "__doc__": f"{request.__doc__} Pictures are files.",
        "__annotations__": {"images": files},
        "model_config": ConfigDict(json_schema_extra={}),
    }
    return type(request.__name__.replace("Request", "Form"), (request,), parts)


def _multipart_encoding() -> dict[str, Any]:
    """How fields beside a file of pixels are written: text as it is, everything else as JSON."""
    described = PixelEmbeddingRequest.model_json_schema(ref_template=REF_TEMPLATE)["properties"]
    return {
        name: {"contentType": "application/json"}
        for name, schema in described.items()
        if not any(one.get("type") == "string" for one in schema.get("anyOf", [schema]))
    }


def _query_parameter(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema; one that is an object is written as JSON."""
    # Without its default, which generated clients would send with every other body, too.
    plain = {
        name: value for name, value in schema.items() if name not in ("description", "default")
    }
    if plain.get("type") == "object":
        return {"content": {"application/json": {"schema": plain}}}
    return {"schema": plain}
