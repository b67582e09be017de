"""The OpenAPI document, made from the types of requests and responses."""

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

DESCRIPTION = """Images and regions into vectors.

- `POST /image_embedding` embeds images.
- `POST /geo_embedding` embeds regions: the service fetches the satellite imagery of a time window.
  As a multipart form it embeds your own pixels.
- `POST /geo_embedding/plan` says what such a request would do. `POST /inspect` describes the
  pixels.
- `POST /text_embedding` and `POST /zero_shot_classification` use models that also read texts.
- `GET /models` lists the models.

`/v1` is the embeddings API of OpenAI, `/api` the API of vitrivr's feature extraction server."""

EMBEDDINGS = Tag("Embeddings", "Images and regions into vectors.")
PLANNING = Tag("Planning", "What a request would do, and a description of its pixels.")
MODELS = Tag("Models", "The served models.")
INFRASTRUCTURE = Tag("Infrastructure", "Probes and metrics.")

_KEY_DESCRIPTION = "If the service requires an API key."
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
        extra_operations: Operations of other APIs.
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
    """The operation with the errors of a service that requires API keys."""
    if operation.is_public:
        return operation
    return replace(operation, errors=(*operation.errors, Unauthorized, RateLimited))


def _operations() -> list[Operation]:
    return [*_embedding_operations(), *_other_operations()]


def _embedding_operations() -> list[Operation]:
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
    ]


def _other_operations() -> list[Operation]:
    return [
        _describe(
            operations.PLAN_EMBEDDING,
            PLANNING,
            _REGION_ERRORS,
            response_description="One entry per region, in order; no pixels are fetched",
            response_example=examples.plan_response(),
        ),
        _describe(
            operations.INSPECT_PATCH,
            PLANNING,
            _REGION_ERRORS,
            response_description="Statistics of every band, and a quicklook",
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
        _probe_operation("readyz", "Whether every model is loaded and warmed up", Overloaded),
        _probe_operation("metrics", "Metrics for Prometheus", NotFound("On another port.")),
    ]


def _describe(
    operation: operations.Operation[Any, Any],
    tag: Tag,
    errors: Sequence[ErrorOrType],
    **more: Any,
) -> Operation:
    """The description of an operation of the table."""
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
    """Bodies other than JSON for an operation with images, and their parameters."""
    schema = request.model_json_schema(ref_template=REF_TEMPLATE)
    fields = {name: field for name, field in schema["properties"].items() if name != "images"}
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
                "description": f"Only if the body is a bare image. {field['description']}",
                **_query_parameter(field),
            }
            for name, field in fields.items()
        ],
    )


def _multipart_model(request: type[BaseModel]) -> type[BaseModel]:
    """The request as a form with files."""
    files = Annotated[
        list[Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]],
        Field(min_length=1, description="One file per image, under the same field name."),
    ]
    parts = {
        "__module__": __name__,
        "__doc__": f"{request.__doc__} Images are files.",
        "__annotations__": {"images": files},
        "model_config": ConfigDict(json_schema_extra={}),
    }
    return type(request.__name__.replace("Request", "Form"), (request,), parts)


def _multipart_encoding() -> dict[str, Any]:
    """Encodings of the fields beside a file of pixels: JSON, except for text."""
    properties = PixelEmbeddingRequest.model_json_schema(ref_template=REF_TEMPLATE)["properties"]
    return {
        name: {"contentType": "application/json"}
        for name, schema in properties.items()
        if not any(option.get("type") == "string" for option in schema.get("anyOf", [schema]))
    }


def _query_parameter(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a query parameter; objects are JSON."""
    # Without the default, which generated clients would send with all other bodies.
    plain = {
        name: value for name, value in schema.items() if name not in ("description", "default")
    }
    if plain.get("type") == "object":
        return {"content": {"application/json": {"schema": plain}}}
    return {"schema": plain}
