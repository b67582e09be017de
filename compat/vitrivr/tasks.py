"""The tasks of vitrivr's API: the bodies that they take, and the pipeline's answers to them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Generic, TypeVar

import anyio.to_thread
import orjson
from pydantic import BaseModel, ConfigDict, Field

from geobento.schemas.cards import ServedModel
from geobento.schemas.embedding import Classification, Embedding
from geobento.schemas.errors import GeoBentoError, InvalidImage, NotFound, PayloadTooLarge
from geobento.schemas.options import check_options
from geobento.schemas.requests import (
    EXAMPLE_PICTURE,
    ImageEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from pipeline.async_engine import Serving
from pipeline.inputs import images as inputs_images
from pipeline.registry import OpenModel

PART = 16
"""Inputs of a batched job that go to the pipeline together."""
NAMED = 10
"""Inputs that are named, at most, where a batched job fails."""

Ask = Callable[[], Awaitable[Sequence["Answer"]]]
Answer = Embedding | Classification | GeoBentoError
Input = TypeVar("Input")
Several = Annotated[list[str], Field(min_length=1)]


class TaskNotFound(NotFound):
    """There is no such task, or the model does not do it."""

    type = "task_not_found"


class BatchFailed(GeoBentoError):
    """Inputs of a batched request failed; its answer has no place for the others."""

    type = "batch_failed"
    status = 400


class Body(BaseModel):
    """Body of a new job. Generated clients send null for what is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: dict[str, Any] | None = None


class ImageBody(Body, Generic[Input]):
    """Pictures: base64, data URLs, or URLs where the service fetches pictures."""

    image: Input


class TextBody(Body, Generic[Input]):
    """Texts."""

    text: Input


class ZeroShotBody(ImageBody[Input], Generic[Input]):
    """Pictures and the classes to compare them with."""

    classes: Several


def _shown(**example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


# Named as in vitrivr's own document, from which clients are generated.
class ImageEmbeddingInput(ImageBody[str]):
    """A picture: base64, a data URL, or a URL where the service fetches pictures."""

    model_config = _shown(image=EXAMPLE_PICTURE)


class BatchedImageEmbeddingInput(ImageBody[Several]):
    """Pictures: base64, data URLs, or URLs where the service fetches pictures."""

    model_config = _shown(image=[EXAMPLE_PICTURE])


class TextEmbeddingInput(TextBody[str]):
    """A text."""

    model_config = _shown(text="a harbour")


class BatchedTextEmbeddingInput(TextBody[Several]):
    """Texts."""

    model_config = _shown(text=["fields", "a harbour"])


class ZeroShotImageClassificationInput(ZeroShotBody[str]):
    """A picture and the classes to compare it with."""

    model_config = _shown(image=EXAMPLE_PICTURE, classes=["forest", "harbour"])


class BatchedZeroShotImageClassificationInput(ZeroShotBody[Several]):
    """Pictures and the classes to compare them with."""

    model_config = _shown(image=[EXAMPLE_PICTURE], classes=["forest", "harbour"])


class _Output(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageEmbeddingOutput(_Output):
    """The vector of a picture."""

    embedding: list[float]


class TextEmbeddingOutput(_Output):
    """The vector of a text."""

    embedding: list[float]


class ZeroShotImageClassificationOutput(_Output):
    """One probability per class, in the order of the classes."""

    probabilities: list[float]


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: As in the API.
        field: Field of its bodies that holds the inputs.
        reads: What a model needs to read, as the fields of its card are called.
        single: Body with one input.
        batched: Body with several.
        output: What an input becomes.
        ask: One answer per input from a model, given the inputs and their body.
    """

    name: str
    field: str
    reads: tuple[str, ...]
    single: type[Body]
    batched: type[Body]
    output: type[BaseModel]
    ask: Callable[[Serving, str, list[str], Any], Awaitable[Sequence[Answer]]]

    def body(self, batched: bool) -> type[Body]:
        """Type of its bodies."""
        return self.batched if batched else self.single

    def offered_by(self, served: ServedModel) -> bool:
        """Whether a model can do it with the weights that are served."""
        inputs = [getattr(served.card, kind) for kind in self.reads]
        return all(spec is not None and spec.modality in served.modalities for spec in inputs)

    def inputs(self, body: Body) -> list[str]:
        """The inputs of a body."""
        given = getattr(body, self.field)
        return [given] if isinstance(given, str) else list(given)


async def _image_embedding(
    serving: Serving, model: str, images: list[str], body: ImageBody[Any]
) -> Sequence[Answer]:
    return await serving.image_embedding(
        ImageEmbeddingRequest(model=model, images=[*images], config=body.config or {})
    )


async def _text_embedding(
    serving: Serving, model: str, texts: list[str], body: TextBody[Any]
) -> Sequence[Answer]:
    return await serving.text_embedding(
        TextEmbeddingRequest(model=model, texts=texts, config=body.config or {})
    )


async def _zero_shot(
    serving: Serving, model: str, images: list[str], body: ZeroShotBody[Any]
) -> Sequence[Answer]:
    return await serving.zero_shot_classification(
        ZeroShotRequest(
            model=model, images=[*images], classes=body.classes, config=body.config or {}
        )
    )


TASKS = {
    task.name: task
    for task in (
        Task(
            "image-embedding",
            "image",
            ("image",),
            ImageEmbeddingInput,
            BatchedImageEmbeddingInput,
            ImageEmbeddingOutput,
            _image_embedding,
        ),
        Task(
            "text-embedding",
            "text",
            ("text",),
            TextEmbeddingInput,
            BatchedTextEmbeddingInput,
            TextEmbeddingOutput,
            _text_embedding,
        ),
        Task(
            "zero-shot-image-classification",
            "image",
            ("image", "text"),
            ZeroShotImageClassificationInput,
            BatchedZeroShotImageClassificationInput,
            ZeroShotImageClassificationOutput,
            _zero_shot,
        ),
    )
}


async def check(opened: OpenModel, task: Task, body: Body, max_items: int) -> None:
    """Check what can be checked before a job is accepted.

    Raises:
        ModelError: An option in `config` is not the model's.
        PayloadTooLarge: There are more inputs than allowed.
        InvalidImage: A picture is no base64.
    """
    inputs = task.inputs(body)
    if len(inputs) > max_items:
        raise PayloadTooLarge(f"{len(inputs)} inputs in one job; accepted: up to {max_items}")
    options = body.config or {}
    check_options(opened.served.card, options, "config")
    if "image" in task.reads:
        opened.model.image_input(options.get("preprocessing"))
        await anyio.to_thread.run_sync(_check_images, inputs)


def _check_images(images: Sequence[str]) -> None:
    for position, image in enumerate(images):
        try:
            if not inputs_images.is_url(image):
                inputs_images.payload_bytes(image)
        except InvalidImage as error:
            raise InvalidImage(f"picture {position}: {error.message}") from None


async def _at_once(inputs: int, ask: Ask) -> Sequence[Answer]:
    return await ask()


async def output(
    serving: Serving,
    task: Task,
    model: str,
    body: Body,
    pace: Callable[[int, Ask], Awaitable[Sequence[Answer]]] = _at_once,
) -> bytes:
    """What a body becomes, as JSON text: one output, or a list of them for a batched body.

    Args:
        serving: What answers.
        task: The task.
        model: Id of the model.
        body: The body.
        pace: When a part of so many inputs is asked for.

    Raises:
        BatchFailed: Inputs of a batched body failed.
        GeoBentoError: The body as a whole, or its only input, failed.
    """
    inputs = task.inputs(body)

    async def answered(part: list[str]) -> Sequence[Answer]:
        return await pace(len(part), lambda: task.ask(serving, model, part, body))

    parts = await asyncio.gather(*map(answered, _parts(inputs, body)), return_exceptions=True)
    answers: list[Answer] = []
    for part in parts:
        if isinstance(part, BaseException):
            raise part
        answers += part
    errors = [
        f"input {position}: {answer.message}"
        for position, answer in enumerate(answers)
        if isinstance(answer, GeoBentoError)
    ]
    if errors:
        more = f"; and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
        raise BatchFailed(
            f"{len(errors)} of {len(inputs)} inputs failed; send the others without them. "
            f"{'; '.join(errors[:NAMED])}{more}"
        )
    outputs = [_output(answer) for answer in answers]
    value = outputs if isinstance(body, task.batched) else outputs[0]
    return await anyio.to_thread.run_sync(_dumped, value)


def _parts(inputs: list[str], body: Body) -> list[list[str]]:
    """The inputs in parts of like size; none of one input unless it is the only one."""
    # Classes are encoded again for every part: few classes, small parts.
    size = max(PART, len(body.classes) if isinstance(body, ZeroShotBody) else 0)
    count = math.ceil(len(inputs) / size)
    bounds = [len(inputs) * n // count for n in range(count + 1)]
    return [inputs[start:end] for start, end in pairwise(bounds)]


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _output(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, GeoBentoError):
        raise answer
    if isinstance(answer, Classification):
        return {"probabilities": answer.probabilities}
    return {"embedding": answer.data}
