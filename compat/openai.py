"""OpenAI's embeddings API: ``/v1/embeddings`` and ``/v1/models``.

Besides texts it accepts images in the forms that clients of Infinity, Jina and Cohere send:
``{"image": ...}``, data URLs, ``{"type": "image_url", ...}`` and ``modality: "image"``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from geobento.schemas import serialization
from geobento.schemas.cards import ServedModel
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError, InvalidRequest, ModelError
from geobento.schemas.requests import (
    EXAMPLE_IMAGE,
    Encoding,
    ImageEmbeddingRequest,
    TextEmbeddingRequest,
)
from geobento.schemas.validation import validate
from pipeline.async_engine import AsyncEngine
from server import parsing
from server.responses import ErrorFormat, respond

Endpoint = Callable[[Request], Awaitable[bytes]]

ACCEPTED_ITEMS = (
    'a text, a data URL, {"text": ...}, {"image": ...} or {"type": "image_url", "image_url": ...}'
)


class _InputModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ImageUrl(_InputModel):
    """Address of an image."""

    url: str
    """Data URL, or http(s) where the service fetches images."""
    detail: str | None = None
    """Not used."""


class InputPart(_InputModel):
    """One input with its kind."""

    type: Literal["text", "image_url", "input_text", "input_image"] | None = None
    """Kind of the input; optional if only one of the other fields is set."""
    text: str | None = None
    """A text."""
    image: str | None = None
    """An image: base64, a data URL, or a URL where the service fetches images."""
    image_url: ImageUrl | str | None = None
    """An image by its address."""


class InputContent(_InputModel):
    """One input as a list of parts, of which there is exactly one."""

    content: Annotated[list[InputPart], Field(min_length=1)]
    """The parts."""


InputItem: TypeAlias = str | InputPart | InputContent

InputList: TypeAlias = Annotated[list[InputItem], Field(min_length=1)]
"""Inputs as documented; `EmbeddingsRequest.items` parses each, for better messages."""


class EmbeddingsRequest(BaseModel):
    """Body of ``POST /v1/embeddings``."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "model": "clip_vit_large_patch14",
                    "input": ["fields seen from above", {"image": EXAMPLE_IMAGE}],
                }
            ]
        },
    )

    model: str
    """Id or alias of a served model."""
    input: Annotated[
        str | list[Any],
        BeforeValidator(lambda value: value, json_schema_input_type=str | InputList),
    ]
    """What to embed: a text, or a list of texts and images."""
    encoding_format: Encoding = "float"
    """`float`: numbers. `base64`: little-endian float32."""
    dimensions: int | None = None
    """Length of the vectors; accepted: the length of the model's vectors."""
    modality: Literal["text", "image"] = "text"
    """Kind of plain strings that are no data URLs."""
    user: str | None = None
    """Not used."""

    def items(self) -> list[InputItem]:
        """The inputs, as a list.

        Raises:
            InvalidRequest: There are none, or one has no accepted form.
        """
        if not self.input:
            raise InvalidRequest("the input is empty", field="input")
        if isinstance(self.input, str):
            return [self.input]
        return [_parse_item(item, f"input.{position}") for position, item in enumerate(self.input)]


class _ResponseModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class OpenAIEmbedding(_ResponseModel):
    """The vector of one input."""

    object: Literal["embedding"]
    """Type of the object."""
    index: int
    """Index of the input."""
    embedding: list[float] | str
    """Numbers, or base64 of little-endian float32."""


class OpenAIUsage(_ResponseModel):
    """Tokens of the texts; images have none."""

    prompt_tokens: int
    """Tokens."""
    total_tokens: int
    """The same."""


class OpenAIEmbeddings(_ResponseModel):
    """One vector per input, in order."""

    object: Literal["list"]
    """Type of the object."""
    data: list[OpenAIEmbedding]
    """The vectors."""
    model: str
    """Id of the model."""
    usage: OpenAIUsage
    """Tokens of the inputs."""


class OpenAIModel(_ResponseModel):
    """A model."""

    id: str
    """Its id."""
    object: Literal["model"] = "model"
    """Type of the object."""
    created: int
    """When its weights were stored, seconds since 1970."""
    owned_by: str
    """Where its weights come from."""


class OpenAIModels(_ResponseModel):
    """The models that are served."""

    object: Literal["list"] = "list"
    """Type of the object."""
    data: list[OpenAIModel]
    """The models."""


class OpenAIErrorDetail(_ResponseModel):
    """The error."""

    message: str
    """Message for people."""
    type: Literal["invalid_request_error", "server_error"]
    """Whether the request or the server is at fault."""
    param: str | None
    """The field at fault."""
    code: str
    """Error type of GeoBento, for programs."""


class OpenAIErrorBody(_ResponseModel):
    """Body of every error."""

    error: OpenAIErrorDetail
    """The error."""


def _parse_item(item: Any, field: str) -> InputItem:
    if isinstance(item, str):
        return item
    if isinstance(item, int | list):
        raise InvalidRequest(
            "token ids are not accepted, since vocabularies differ between models; send texts",
            field=field,
        )
    try:
        if isinstance(item, dict) and "content" in item:
            return validate(InputContent, item)
        return validate(InputPart, item)
    except InvalidRequest as error:
        raise InvalidRequest(
            f"this input cannot be read ({error.message}); accepted: {ACCEPTED_ITEMS}", field=field
        ) from None


class OpenAIApi:
    """The endpoints of the API.

    Args:
        get_engine: The engine, once the service has built it.
        timeout_s: Timeout of a request, seconds.
    """

    def __init__(self, get_engine: Callable[[], AsyncEngine], timeout_s: float) -> None:
        self._get_engine = get_engine
        self._timeout_s = timeout_s

    def routes(self) -> list[Route]:
        """One route per row of the table of endpoints."""
        table: list[tuple[str, str, Endpoint]] = [
            ("POST", "/v1/embeddings", self.create_embeddings),
            ("GET", "/v1/models", self.list_models),
            ("GET", "/v1/models/{model:path}", self.retrieve_model),
        ]
        return [self._route(*row) for row in table]

    async def create_embeddings(self, request: Request) -> bytes:
        """Vectors of texts and images."""
        body = await parsing.read_request(request, EmbeddingsRequest)
        if isinstance(body, GeoBentoError):
            raise body
        return await _create_embeddings(self._get_engine(), body)

    async def list_models(self, _: Request) -> bytes:
        """All served models."""
        served_models = self._get_engine().registry.default_variants()
        return _to_json(OpenAIModels(data=[_model_object(served) for served in served_models]))

    async def retrieve_model(self, request: Request) -> bytes:
        """One model by its id or alias."""
        handle = self._get_engine().registry.find(request.path_params["model"])
        return _to_json(_model_object(handle.served))

    def _route(self, method: str, path: str, endpoint: Endpoint) -> Route:
        async def handle(request: Request) -> Response:
            return await respond(endpoint(request), self._timeout_s, ERROR_FORMAT)

        return Route(path, handle, methods=[method])


async def _create_embeddings(engine: AsyncEngine, request: EmbeddingsRequest) -> bytes:
    served = engine.registry.find(request.model).served
    if request.dimensions not in (None, served.dim):
        raise ModelError(
            f"{served.card.id} has vectors of length {served.dim} and no other",
            field="dimensions",
        )
    inputs = [
        _kind_and_value(item, request.modality, position)
        for position, item in enumerate(request.items())
    ]
    results = await _embed_inputs(engine, request.model, inputs)
    data, tokens = [], 0
    for position, result in enumerate(results):
        if isinstance(result, GeoBentoError):
            if result.field is not None and result.field.split(".")[0] in ("texts", "images"):
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
    engine: AsyncEngine, model: str, inputs: Sequence[tuple[str, str]]
) -> list[Embedding | GeoBentoError]:
    """Embed (kind, value) inputs: one request of all texts and one of all images, concurrently."""
    results: dict[int, Embedding | GeoBentoError] = {}

    async def embed(
        kind: str, run: Callable[[list[str]], Awaitable[list[Embedding | GeoBentoError]]]
    ) -> None:
        values = {position: value for position, (name, value) in enumerate(inputs) if name == kind}
        if not values:
            return
        try:
            results.update(zip(values, await run(list(values.values())), strict=True))
        except GeoBentoError as error:  # of the request as a whole, or of its only input
            results.update(dict.fromkeys(values, error))

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
