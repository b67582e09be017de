"""The operations of the service, written once.

The Python functions, both HTTP clients, the in-process engine, the routes and the OpenAPI document
are made from this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from geobento.client import bodies
from geobento.schemas import serialization
from geobento.schemas.cards import ModelList, ServedModel
from geobento.schemas.embedding import Classification, Embedding
from geobento.schemas.errors import GeoBentoError
from geobento.schemas.plan import EmbeddingPlan, Inspection
from geobento.schemas.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from geobento.schemas.responses import EmbeddingResponse, ZeroShotResponse

RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Operation(Generic[RequestT, ResultT]):
    """One operation of the service.

    Attributes:
        name: Name of the client method, and operation id in the OpenAPI document.
        method: HTTP method.
        path: Path of the route; `{model_id}` stands for the request, where that is a name.
        summary: What the operation does, in one line.
        request: Type of the request; `str` for a name, `NoneType` where there is none.
        response: Type of the JSON body of the response.
        encode: Makes the body of the HTTP request, as keyword arguments of httpx.
        decode: Makes the result from the body of a response with status 200.
    """

    name: str
    method: str
    path: str
    summary: str
    request: type[RequestT]
    response: type[BaseModel]
    encode: Callable[[RequestT], dict[str, Any]]
    decode: Callable[[bytes], ResultT]


EmbeddingResults = list[Embedding | GeoBentoError]
"""One embedding or error per input, in order."""

LIST_MODELS: Operation[None, list[ServedModel]] = Operation(
    "list_models",
    "GET",
    "/models",
    "List the models that are served.",
    type(None),
    ModelList,
    bodies.no_body,
    lambda body: ModelList.model_validate_json(body).models,
)
DESCRIBE_MODEL: Operation[str, ServedModel] = Operation(
    "describe_model",
    "GET",
    "/models/{model_id}",
    "Describe a model by its id or an alias.",
    str,
    ServedModel,
    bodies.no_body,
    ServedModel.model_validate_json,
)
IMAGE_EMBEDDING: Operation[ImageEmbeddingRequest, EmbeddingResults] = Operation(
    "image_embedding",
    "POST",
    "/image_embedding",
    "Embed images: one vector per image, in order.",
    ImageEmbeddingRequest,
    EmbeddingResponse,
    bodies.with_images,
    serialization.decode_embeddings,
)
TEXT_EMBEDDING: Operation[TextEmbeddingRequest, EmbeddingResults] = Operation(
    "text_embedding",
    "POST",
    "/text_embedding",
    "Embed texts: one vector per text, in order.",
    TextEmbeddingRequest,
    EmbeddingResponse,
    bodies.as_json,
    serialization.decode_embeddings,
)
ZERO_SHOT_CLASSIFICATION: Operation[ZeroShotRequest, list[Classification | GeoBentoError]] = (
    Operation(
        "zero_shot_classification",
        "POST",
        "/zero_shot_classification",
        "Classify images: a probability per class for each image, in order.",
        ZeroShotRequest,
        ZeroShotResponse,
        bodies.with_images,
        serialization.decode_classifications,
    )
)
GEO_EMBEDDING: Operation[GeoEmbeddingRequest, EmbeddingResults] = Operation(
    "geo_embedding",
    "POST",
    "/geo_embedding",
    "Embed regions: one vector or grid per region, in order.",
    GeoEmbeddingRequest,
    EmbeddingResponse,
    bodies.as_json,
    serialization.decode_embeddings,
)
PIXEL_EMBEDDING: Operation[PixelEmbeddingRequest, EmbeddingResults] = Operation(
    "pixel_embedding",
    "POST",
    "/geo_embedding",
    "Embed user-supplied pixels: one vector or grid.",
    PixelEmbeddingRequest,
    EmbeddingResponse,
    bodies.with_pixels,
    serialization.decode_embeddings,
)
PLAN_EMBEDDING: Operation[GeoEmbeddingRequest, EmbeddingPlan] = Operation(
    "plan_embedding",
    "POST",
    "/geo_embedding/plan",
    "Say what a request to embed regions would do. No pixel is fetched.",
    GeoEmbeddingRequest,
    EmbeddingPlan,
    bodies.as_json,
    EmbeddingPlan.model_validate_json,
)
INSPECT_PATCH: Operation[InspectRequest, Inspection] = Operation(
    "inspect_patch",
    "POST",
    "/inspect",
    "Fetch the pixels of a region and describe them.",
    InspectRequest,
    Inspection,
    bodies.as_json,
    Inspection.model_validate_json,
)

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    LIST_MODELS,
    DESCRIBE_MODEL,
    IMAGE_EMBEDDING,
    TEXT_EMBEDDING,
    ZERO_SHOT_CLASSIFICATION,
    GEO_EMBEDDING,
    PIXEL_EMBEDDING,
    PLAN_EMBEDDING,
    INSPECT_PATCH,
)
