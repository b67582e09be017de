"""Requests and responses of OpenAI's embeddings API."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field

from geobento.schemas.errors import InvalidRequest
from geobento.schemas.records import Record, RequestRecord
from geobento.schemas.requests import EXAMPLE_IMAGE, Encoding
from geobento.schemas.validation import validate

ACCEPTED_ITEMS = (
    'a text, a data URL, {"text": ...}, {"image": ...} or {"type": "image_url", "image_url": ...}'
)


class ImageUrl(RequestRecord):
    """Address of an image."""

    url: str
    """Data URL, or http(s) where the service fetches images."""
    detail: str | None = None
    """Not used."""


class InputPart(RequestRecord):
    """One input with its kind."""

    type: Literal["text", "image_url", "input_text", "input_image"] | None = None
    """Kind of the input; optional if only one of the other fields is set."""
    text: str | None = None
    """A text."""
    image: str | None = None
    """An image: base64, a data URL, or a URL where the service fetches images."""
    image_url: ImageUrl | str | None = None
    """An image by its address."""


class InputContent(RequestRecord):
    """One input as a list of parts, of which there is exactly one."""

    content: Annotated[list[InputPart], Field(min_length=1)]
    """The parts."""


InputItem: TypeAlias = str | InputPart | InputContent

InputList: TypeAlias = Annotated[list[InputItem], Field(min_length=1)]
"""Inputs as documented; `EmbeddingsRequest.items` parses each, for better messages."""


class EmbeddingsRequest(RequestRecord):
    """Body of ``POST /v1/embeddings``. Unknown parameters are ignored, as other servers do."""

    model_config = ConfigDict(
        extra="allow",
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

    @property
    def ignored(self) -> list[str]:
        """Names of unknown parameters."""
        return sorted(self.model_extra or ())

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


class OpenAIEmbedding(Record):
    """The vector of one input."""

    object: Literal["embedding"]
    """Type of the object."""
    index: int
    """Index of the input."""
    embedding: list[float] | str
    """Numbers, or base64 of little-endian float32."""


class OpenAIUsage(Record):
    """Tokens of the texts; images have none."""

    prompt_tokens: int
    """Tokens."""
    total_tokens: int
    """The same."""


class OpenAIEmbeddings(Record):
    """One vector per input, in order."""

    object: Literal["list"]
    """Type of the object."""
    data: list[OpenAIEmbedding]
    """The vectors."""
    model: str
    """Id of the model."""
    usage: OpenAIUsage
    """Tokens of the inputs."""


class OpenAIModel(Record):
    """A model."""

    id: str
    """Its id."""
    object: Literal["model"] = "model"
    """Type of the object."""
    created: int
    """When its weights were stored, seconds since 1970."""
    owned_by: str
    """Where its weights come from."""


class OpenAIModels(Record):
    """The models that are served."""

    object: Literal["list"] = "list"
    """Type of the object."""
    data: list[OpenAIModel]
    """The models."""


class OpenAIErrorDetail(Record):
    """The error."""

    message: str
    """Message for people."""
    type: Literal["invalid_request_error", "server_error"]
    """Whether the request or the server is at fault."""
    param: str | None
    """The field at fault."""
    code: str
    """Error type of GeoBento, for programs."""


class OpenAIErrorBody(Record):
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
