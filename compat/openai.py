"""OpenAI's embeddings API: ``/v1/embeddings`` and ``/v1/models``.

Beside texts it takes pictures in the forms that clients of Infinity, Jina and Cohere send:
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
    EXAMPLE_PICTURE,
    Encoding,
    ImageEmbeddingRequest,
    TextEmbeddingRequest,
)
from geobento.schemas.validation import validated
from pipeline.async_engine import Serving
from server import parsing
from server.responses import ErrorShape, JSONBytes, answered

ACCEPTED_ITEMS = (
    'a text, a data URL, {"text": ...}, {"image": ...} or {"type": "image_url", "image_url": ...}'
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ImageUrl(_Part):
    """Address of a picture."""

    url: str
    """Data URL, or http(s) where the service fetches pictures."""
    detail: str | None = None
    """Not used."""


class InputPart(_Part):
    """One input with its kind."""

    type: Literal["text", "image_url", "input_text", "input_image"] | None = None
    """Kind of the input; not needed where only one of the others is given."""
    text: str | None = None
    """A text."""
    image: str | None = None
    """A picture: base64, a data URL, or a URL where the service fetches pictures."""
    image_url: ImageUrl | str | None = None
    """A picture by its address."""


class InputContent(_Part):
    """One input as a list of parts, of which there is exactly one."""

    content: Annotated[list[InputPart], Field(min_length=1)]
    """The parts."""


Item: TypeAlias = str | InputPart | InputContent

Inputs: TypeAlias = Annotated[list[Item], Field(min_length=1)]
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
                    "input": ["fields seen from above", {"image": EXAMPLE_PICTURE}],
                }
            ]
        },
    )

    model: str
    """Id or alias of a served model."""
    input: Annotated[
        str | list[Any],
        BeforeValidator(lambda value: value, json_schema_input_type=str | Inputs),
    ]
    """What to embed: a text, or a list of texts and pictures."""
    encoding_format: Encoding = "float"
    """`float`: numbers. `base64`: little-endian float32."""
    dimensions: int | None = None
    """Length of the vectors; only the model's own is possible."""
    modality: Literal["text", "image"] = "text"
    """What plain strings are, unless they are data URLs."""
    user: str | None = None
    """Not used."""

    def items(self) -> list[Item]:
        """The inputs, as a list.

        Raises:
            InvalidRequest: There are none, or one is of no accepted form.
        """
        if not self.input:
            raise InvalidRequest("there is nothing to embed", field="input")
        if isinstance(self.input, str):
            return [self.input]
        return [_item(item, f"input.{position}") for position, item in enumerate(self.input)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class OpenAIEmbedding(_Answer):
    """The vector of one input."""

    object: Literal["embedding"]
    """What it is."""
    index: int
    """Which input."""
    embedding: list[float] | str
    """Numbers, or base64 of little-endian float32."""


class OpenAIUsage(_Answer):
    """Tokens of the texts; pictures count none."""

    prompt_tokens: int
    """Tokens."""
    total_tokens: int
    """The same."""


class OpenAIEmbeddings(_Answer):
    """One vector per input, in order."""

    object: Literal["list"]
    """What it is."""
    data: list[OpenAIEmbedding]
    """The vectors."""
    model: str
    """Id of the model."""
    usage: OpenAIUsage
    """What was read."""


class OpenAIModel(_Answer):
    """A model."""

    id: str
    """Its id."""
    object: Literal["model"] = "model"
    """What it is."""
    created: int
    """When its weights were stored, seconds since 1970."""
    owned_by: str
    """Where its weights come from."""


class OpenAIModels(_Answer):
    """The models that are served."""

    object: Literal["list"] = "list"
    """What it is."""
    data: list[OpenAIModel]
    """The models."""


class OpenAIProblemDetail(_Answer):
    """What went wrong."""

    message: str
    """Sentence for people."""
    type: Literal["invalid_request_error", "server_error"]
    """Whose fault it is."""
    param: str | None
    """The field at fault."""
    code: str
    """GeoBento's word for programs."""


class OpenAIProblem(_Answer):
    """Body of every failing answer."""

    error: OpenAIProblemDetail
    """What went wrong."""


def _item(item: Any, field: str) -> Item:
    if isinstance(item, str):
        return item
    if isinstance(item, int | list):
        raise InvalidRequest(
            "token ids belong to the vocabularies of OpenAI's models; send texts", field=field
        )
    try:
        if isinstance(item, dict) and "content" in item:
            return validated(InputContent, item)
        return validated(InputPart, item)
    except InvalidRequest as error:
        raise InvalidRequest(
            f"this input cannot be read ({error.message}); accepted: {ACCEPTED_ITEMS}", field=field
        ) from None


def routes(serving: Callable[[], Serving], timeout_s: float) -> list[Route]:
    """The routes of the API.

    Args:
        serving: What answers.
        timeout_s: Longest time for a request.
    """

    async def embeddings(request: Request) -> Response:
        asked = await parsing.read(request, EmbeddingsRequest)
        if isinstance(asked, GeoBentoError):
            return SHAPE.problem(asked)
        return await answered(_embeddings(serving(), asked), timeout_s, SHAPE)

    async def models(_: Request) -> Response:
        listed = [_model(served) for served in serving().registry.by_id()]
        return JSONBytes(OpenAIModels(data=listed).model_dump_json())

    async def model(request: Request) -> Response:
        try:
            found = serving().registry.find(request.path_params["model"])
        except GeoBentoError as error:
            return SHAPE.problem(error)
        return JSONBytes(_model(found.served).model_dump_json())

    return [
        Route("/v1/embeddings", embeddings, methods=["POST"]),
        Route("/v1/models", models, methods=["GET"]),
        Route("/v1/models/{model:path}", model, methods=["GET"]),
    ]


async def _embeddings(serving: Serving, asked: EmbeddingsRequest) -> bytes:
    served = serving.registry.find(asked.model).served
    if asked.dimensions not in (None, served.dim):
        raise ModelError(
            f"{served.card.id} has vectors of length {served.dim} and no other",
            field="dimensions",
        )
    kinds = [_kind(item, asked.modality, position) for position, item in enumerate(asked.items())]
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
            serving.text_embedding,
            lambda values: TextEmbeddingRequest(model=asked.model, texts=values),
        ),
        embed(
            images,
            serving.image_embedding,
            lambda values: ImageEmbeddingRequest(model=asked.model, images=values),
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
        data.append(_datum(position, entry, asked.encoding_format))
    answer = {
        "object": "list",
        "data": data,
        "model": served.card.id,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _kind(item: Item, strings: str, position: int) -> tuple[str, str]:
    """Whether an input is a ``text`` or an ``image``, and its value.

    Raises:
        InvalidRequest: It is not one of both.
    """
    if isinstance(item, str):
        is_picture = strings == "image" or item[:11].lower() == "data:image/"
        return ("image" if is_picture else "text"), item
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


def _datum(position: int, embedding: Embedding, encoding: Encoding) -> dict[str, Any]:
    return {
        "object": "embedding",
        "index": position,
        "embedding": serialization.encode_array(embedding.data, encoding),
    }


def _model(served: ServedModel) -> OpenAIModel:
    return OpenAIModel(
        id=served.card.id,
        created=int(served.created.timestamp()),
        owned_by=served.card.weights.source,
    )


def _error(error: GeoBentoError) -> tuple[Any, int]:
    detail = OpenAIProblemDetail(
        message=error.message,
        type="invalid_request_error" if error.status < 500 else "server_error",
        param=error.field,
        code=error.type,
    )
    return OpenAIProblem(error=detail).model_dump(), error.status


def _is_error(content: Any) -> bool:
    error = content.get("error") if isinstance(content, dict) else None
    return isinstance(error, dict) and {"message", "type", "param", "code"} <= error.keys()


SHAPE = ErrorShape(_error, _is_error, OpenAIProblem)
"""``{"error": {"message", "type", "param", "code"}}``."""
