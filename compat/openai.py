"""OpenAI's embeddings API: ``/v1/embeddings`` and ``/v1/models``.

Beside texts it takes images in the forms that clients of Infinity, Jina and Cohere send:
``{"image": ...}``, data URLs, ``{"type": "image_url", ...}`` and ``modality: "image"``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
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
from server.responses import ErrorFormat, JSONBytesResponse, respond

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
    """Kind of the input; not needed where only one of the others is given."""
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
"""A list of inputs as the document has it; `items` reads them one by one, for better messages."""


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
    """Length of the vectors; only the model's own is possible."""
    modality: Literal["text", "image"] = "text"
    """What plain strings are, unless they are data URLs."""
    user: str | None = None
    """Not used."""

    def items(self) -> list[InputItem]:
        """The inputs, as a list.

        Raises:
            InvalidRequest: There are none, or one is of no accepted form.
        """
        if not self.input:
            raise InvalidRequest("there is nothing to embed", field="input")
        if isinstance(self.input, str):
            return [self.input]
        return [_parse_item(item, f"input.{position}") for position, item in enumerate(self.input)]


class _ResponseModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class OpenAIEmbedding(_ResponseModel):
    """The vector of one input."""

    object: Literal["embedding"]
    """What it is."""
    index: int
    """Which input."""
    embedding: list[float] | str
    """Numbers, or base64 of little-endian float32."""


class OpenAIUsage(_ResponseModel):
    """Tokens of the texts; images count none."""

    prompt_tokens: int
    """Tokens."""
    total_tokens: int
    """The same."""


class OpenAIEmbeddings(_ResponseModel):
    """One vector per input, in order."""

    object: Literal["list"]
    """What it is."""
    data: list[OpenAIEmbedding]
    """The vectors."""
    model: str
    """Id of the model."""
    usage: OpenAIUsage
    """What was read."""


class OpenAIModel(_ResponseModel):
    """A model."""

    id: str
    """Its id."""
    object: Literal["model"] = "model"
    """What it is."""
    created: int
    """When its weights were stored, seconds since 1970."""
    owned_by: str
    """Where its weights come from."""


class OpenAIModels(_ResponseModel):
    """The models that are served."""

    object: Literal["list"] = "list"
    """What it is."""
    data: list[OpenAIModel]
    """The models."""


class OpenAIErrorDetail(_ResponseModel):
    """What went wrong."""

    message: str
    """Sentence for people."""
    type: Literal["invalid_request_error", "server_error"]
    """Whose fault it is."""
    param: str | None
    """The field at fault."""
    code: str
    """GeoBento's word for programs."""


class OpenAIErrorBody(_ResponseModel):
    """Body of every failing answer."""

    error: OpenAIErrorDetail
    """What went wrong."""


def _parse_item(item: Any, field: str) -> InputItem:
    if isinstance(item, str):
        return item
    if isinstance(item, int | list):
        raise InvalidRequest(
            "token ids belong to the vocabularies of OpenAI's models; send texts", field=field
        )
    try:
        if isinstance(item, dict) and "content" in item:
            return validate(InputContent, item)
        return validate(InputPart, item)
    except InvalidRequest as error:
        raise InvalidRequest(
            f"this input cannot be read ({error.message}); accepted: {ACCEPTED_ITEMS}", field=field
        ) from None


def routes(get_engine: Callable[[], AsyncEngine], timeout_s: float) -> list[Route]:
    """The routes of the API.

    Args:
        get_engine: What answers.
        timeout_s: Longest time for a request.
    """

    async def embeddings(request: Request) -> Response:
        asked = await parsing.read_request(request, EmbeddingsRequest)
        if isinstance(asked, GeoBentoError):
            return ERROR_SHAPE.render(asked)
        return await respond(_create_embeddings(get_engine(), asked), timeout_s, ERROR_SHAPE)

    async def models(_: Request) -> Response:
        listed = [_model_object(served) for served in get_engine().registry.default_variants()]
        return JSONBytesResponse(OpenAIModels(data=listed).model_dump_json())

    async def model(request: Request) -> Response:
        try:
            found = get_engine().registry.find(request.path_params["model"])
        except GeoBentoError as error:
            return ERROR_SHAPE.render(error)
        return JSONBytesResponse(_model_object(found.served).model_dump_json())

    return [
        Route("/v1/embeddings", embeddings, methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{model:path}", model, methods=["GET"]),
    ]


async def _create_embeddings(engine: AsyncEngine, embeddings_request: EmbeddingsRequest) -> bytes:
    served = engine.registry.find(embeddings_request.model).served
    if embeddings_request.dimensions not in (None, served.dim):
        raise ModelError(
            f"{served.card.id} has vectors of length {served.dim} and no other",
            field="dimensions",
        )
    kinds = [
        _kind_and_value(item, embeddings_request.modality, position)
        for position, item in enumerate(embeddings_request.items())
    ]
    texts = [position for position, (kind, _) in enumerate(kinds) if kind == "text"]
    images = [position for position, (kind, _) in enumerate(kinds) if kind == "image"]
    found: dict[int, Embedding | GeoBentoError] = {}

    async def embed(positions: Sequence[int], ask: Any, make: Callable[[list[str]], Any]) -> None:
        if not positions:
            return
        request = make([kinds[position][1] for position in positions])
        try:
            found.update(zip(positions, await ask(request), strict=True))
        except GeoBentoError as error:
            # The only one of its kind, or the request as a whole.
            found.update(dict.fromkeys(positions, error))

    await asyncio.gather(
        embed(
            texts,
            engine.text_embedding,
            lambda values: TextEmbeddingRequest(model=embeddings_request.model, texts=values),
        ),
        embed(
            images,
            engine.image_embedding,
            lambda values: ImageEmbeddingRequest(model=embeddings_request.model, images=values),
        ),
    )
    data, tokens = [], 0
    for position in range(len(kinds)):
        entry = found[position]
        if isinstance(entry, GeoBentoError):
            if entry.field is not None and entry.field.split(".")[0] in ("texts", "images"):
                entry.field = f"input.{position}"
            raise entry
        tokens += entry.meta.text.tokens if entry.meta.text is not None else 0
        data.append(_embedding_object(position, entry, embeddings_request.encoding_format))
    answer = {
        "object": "list",
        "data": data,
        "model": served.card.id,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _kind_and_value(item: InputItem, string_kind: str, position: int) -> tuple[str, str]:
    """Whether an input is a ``text`` or an ``image``, and its value.

    Raises:
        InvalidRequest: It is not one of both.
    """
    if isinstance(item, str):
        is_image = string_kind == "image" or item[:11].lower() == "data:image/"
        return ("image" if is_image else "text"), item
    if isinstance(item, InputContent):
        if len(item.content) != 1:
            raise InvalidRequest(
                f"an input of {len(item.content)} parts cannot become one vector; "
                "send every part as an input of its own",
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


ERROR_SHAPE = ErrorFormat(_error_body, _is_error_body, OpenAIErrorBody)
"""``{"error": {"message", "type", "param", "code"}}``."""
