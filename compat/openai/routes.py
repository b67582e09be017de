"""OpenAI's embeddings API: ``/v1/embeddings`` and ``/v1/models``.

Besides texts it accepts images in the forms that clients of Infinity, Jina and Cohere send:
``{"image": ...}``, data URLs, ``{"type": "image_url", ...}`` and ``modality: "image"``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from compat.openai.schemas import (
    ACCEPTED_ITEMS,
    EmbeddingsRequest,
    ImageUrl,
    InputContent,
    InputItem,
    OpenAIErrorBody,
    OpenAIErrorDetail,
    OpenAIModel,
    OpenAIModels,
)
from geobento.schemas import serialization
from geobento.schemas.cards import ServedModel
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError, InvalidRequest, ModelError, PayloadTooLarge
from geobento.schemas.requests import Encoding, ImageEmbeddingRequest, TextEmbeddingRequest
from pipeline.async_engine import AsyncEngine
from server import parsing
from server.responses import ErrorFormat, JSONBytesResponse, respond

Endpoint = Callable[[Request], Awaitable[bytes | Response]]

MAX_INPUTS = 2048
"""Maximum number of inputs, as OpenAI has it."""
IGNORED_HEADER = "X-Ignored-Parameters"
"""Header of a response that names unknown parameters of the request."""


class OpenAIApi:
    """The endpoints of the API.

    Args:
        get_engine: The engine, once the service has built it.
        timeout_s: Timeout of a request, seconds.
        max_client_batch_size: Maximum number of items in a request to the engine.
    """

    def __init__(
        self, get_engine: Callable[[], AsyncEngine], timeout_s: float, max_client_batch_size: int
    ) -> None:
        self._get_engine = get_engine
        self._timeout_s = timeout_s
        self._max_client_batch_size = max_client_batch_size

    def routes(self) -> list[Route]:
        """One route per row of the table of endpoints."""
        table: list[tuple[str, str, Endpoint]] = [
            ("POST", "/v1/embeddings", self.create_embeddings),
            ("GET", "/v1/models", self.list_models),
            ("GET", "/v1/models/{model:path}", self.retrieve_model),
        ]
        return [self._route(*row) for row in table]

    async def create_embeddings(self, request: Request) -> Response:
        """Vectors of texts and images."""
        body = await parsing.read_request(request, EmbeddingsRequest)
        if isinstance(body, GeoBentoError):
            raise body
        content = await _create_embeddings(self._get_engine(), body, self._max_client_batch_size)
        response = JSONBytesResponse(content)
        if body.ignored:
            response.headers[IGNORED_HEADER] = ", ".join(map(_header_text, body.ignored[:20]))
        return response

    async def list_models(self, _: Request) -> bytes:
        """The served models that embed texts or images."""
        served_models = filter(_has_embeddings, self._get_engine().registry.default_variants())
        return _to_json(OpenAIModels(data=[_model_object(served) for served in served_models]))

    async def retrieve_model(self, request: Request) -> bytes:
        """One model by its id or alias."""
        handle = self._get_engine().registry.find(request.path_params["model"])
        return _to_json(_model_object(handle.served))

    def _route(self, method: str, path: str, endpoint: Endpoint) -> Route:
        async def handle(request: Request) -> Response:
            return await respond(endpoint(request), self._timeout_s, ERROR_FORMAT)

        return Route(path, handle, methods=[method])


async def _create_embeddings(
    engine: AsyncEngine, request: EmbeddingsRequest, batch_size: int
) -> bytes:
    served = engine.registry.find(request.model).served
    if request.dimensions not in (None, served.dim):
        raise ModelError(
            f"{served.card.id} has vectors of length {served.dim} and no other",
            field="dimensions",
        )
    items = request.items()
    if len(items) > MAX_INPUTS:
        raise PayloadTooLarge(
            f"{len(items)} inputs in one request; accepted: up to {MAX_INPUTS}",
            field="input",
            detail={"items": len(items), "limit": MAX_INPUTS},
        )
    inputs = [
        _kind_and_value(item, request.modality, position) for position, item in enumerate(items)
    ]
    results = await _embed_inputs(engine, request.model, inputs, batch_size)
    data, tokens = [], 0
    for position, result in enumerate(results):
        if isinstance(result, GeoBentoError):
            if result.field in ("texts", "images"):
                result.field = "input"
            elif result.field is not None and result.field.startswith(("texts.", "images.")):
                result.field = f"input.{position}"
            raise result
        tokens += result.meta.text.tokens if result.meta.text is not None else 0
        data.append(_embedding_object(position, result, request.encoding_format))
    response = {
        "object": "list",
        "data": data,
        "model": served.card.id,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)


async def _embed_inputs(
    engine: AsyncEngine, model: str, inputs: Sequence[tuple[str, str]], batch_size: int
) -> list[Embedding | GeoBentoError]:
    """Embed (kind, value) inputs: texts and images concurrently, each in batches."""
    results: dict[int, Embedding | GeoBentoError] = {}

    async def embed(
        kind: str, run: Callable[[list[str]], Awaitable[list[Embedding | GeoBentoError]]]
    ) -> None:
        positions = [position for position, (name, _) in enumerate(inputs) if name == kind]
        for start in range(0, len(positions), batch_size):
            batch = positions[start : start + batch_size]
            try:
                embeddings = await run([inputs[position][1] for position in batch])
                results.update(zip(batch, embeddings, strict=True))
            except GeoBentoError as error:  # of the batch as a whole, or of its only input
                results.update(dict.fromkeys(positions[start:], error))
                return

    await asyncio.gather(
        embed(
            "text",
            lambda texts: engine.text_embedding(TextEmbeddingRequest(model=model, texts=texts)),
        ),
        embed(
            "image",
            lambda images: engine.image_embedding(
                ImageEmbeddingRequest(model=model, images=[*images])
            ),
        ),
    )
    return [results[position] for position in range(len(inputs))]


def _kind_and_value(item: InputItem, string_kind: str, position: int) -> tuple[str, str]:
    """The kind of an input, ``text`` or ``image``, and its value.

    Raises:
        InvalidRequest: It has no value, or several.
    """
    if isinstance(item, str):
        is_image = string_kind == "image" or item[:11].lower() == "data:image/"
        return ("image" if is_image else "text"), item
    if isinstance(item, InputContent):
        if len(item.content) != 1:
            raise InvalidRequest(
                f"an input of {len(item.content)} parts cannot become one vector; "
                "send every part as a separate input",
                field=f"input.{position}.content",
            )
        item = item.content[0]
    address = item.image_url.url if isinstance(item.image_url, ImageUrl) else item.image_url
    values = [
        (kind, value)
        for kind, value in (("text", item.text), ("image", item.image), ("image", address))
        if value is not None
    ]
    if len(values) != 1:
        raise InvalidRequest(
            f"an input needs exactly one value; accepted: {ACCEPTED_ITEMS}",
            field=f"input.{position}",
        )
    return values[0]


def _embedding_object(position: int, embedding: Embedding, encoding: Encoding) -> dict[str, Any]:
    return {
        "object": "embedding",
        "index": position,
        "embedding": serialization.encode_array(embedding.data, encoding),
    }


def _header_text(name: str) -> str:
    """A name of a parameter as text of a header."""
    return quote(name[:100], safe="[]$@")


def _has_embeddings(served: ServedModel) -> bool:
    inputs = (served.card.text, served.card.image)
    return any(each is not None and each.modality in served.modalities for each in inputs)


def _model_object(served: ServedModel) -> OpenAIModel:
    return OpenAIModel(
        id=served.card.id,
        created=int(served.created.timestamp()),
        owned_by=served.card.weights.source,
    )


def _to_json(response: BaseModel) -> bytes:
    return response.model_dump_json().encode()


def _error_body(error: GeoBentoError) -> tuple[Any, int]:
    detail = OpenAIErrorDetail(
        message=error.message,
        type="invalid_request_error" if error.status < 500 else "server_error",
        param=error.field,
        code=error.type,
    )
    return OpenAIErrorBody(error=detail).model_dump(), error.status


def _is_error_body(content: Any) -> bool:
    error = content.get("error") if isinstance(content, dict) else None
    return isinstance(error, dict) and {"message", "type", "param", "code"} <= error.keys()


ERROR_FORMAT = ErrorFormat(_error_body, _is_error_body, OpenAIErrorBody)
"""``{"error": {"message", "type", "param", "code"}}``."""
