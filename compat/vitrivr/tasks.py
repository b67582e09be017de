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
    EXAMPLE_IMAGE,
    ImageEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from pipeline.async_engine import AsyncEngine
from pipeline.inputs import images as inputs_images
from pipeline.model_registry import ModelHandle

MIN_PART_SIZE = 16
"""Inputs of a batched job that go to the pipeline together."""
MAX_REPORTED_ERRORS = 10
"""Inputs that are named, at most, where a batched job fails."""

EncodeCall = Callable[[], Awaitable[Sequence["TaskResult"]]]
TaskResult = Embedding | Classification | GeoBentoError
Input = TypeVar("Input")
StringList = Annotated[list[str], Field(min_length=1)]


class TaskNotFound(NotFound):
    """There is no such task, or the model does not do it."""

    type = "task_not_found"


class BatchFailed(GeoBentoError):
    """Inputs of a batched request failed; its answer has no position for the others."""

    type = "batch_failed"
    status = 400


class TaskBody(BaseModel):
    """Body of a new job. Generated clients send null for what is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: dict[str, Any] | None = None


class ImageBody(TaskBody, Generic[Input]):
    """Images: base64, data URLs, or URLs where the service fetches images."""

    image: Input


class TextBody(TaskBody, Generic[Input]):
    """Texts."""

    text: Input


class ZeroShotBody(ImageBody[Input], Generic[Input]):
    """Images and the classes to compare them with."""

    classes: StringList


def _with_example(**example: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


# Named as in vitrivr's own document, from which clients are generated.
class ImageEmbeddingInput(ImageBody[str]):
    """An image: base64, a data URL, or a URL where the service fetches images."""

    model_config = _with_example(image=EXAMPLE_IMAGE)


class BatchedImageEmbeddingInput(ImageBody[StringList]):
    """Images: base64, data URLs, or URLs where the service fetches images."""

    model_config = _with_example(image=[EXAMPLE_IMAGE])


class TextEmbeddingInput(TextBody[str]):
    """A text."""

    model_config = _with_example(text="a harbour")


class BatchedTextEmbeddingInput(TextBody[StringList]):
    """Texts."""

    model_config = _with_example(text=["fields", "a harbour"])


class ZeroShotImageClassificationInput(ZeroShotBody[str]):
    """An image and the classes to compare it with."""

    model_config = _with_example(image=EXAMPLE_IMAGE, classes=["forest", "harbour"])


class BatchedZeroShotImageClassificationInput(ZeroShotBody[StringList]):
    """Images and the classes to compare them with."""

    model_config = _with_example(image=[EXAMPLE_IMAGE], classes=["forest", "harbour"])


class _OutputModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageEmbeddingOutput(_OutputModel):
    """The vector of an image."""

    embedding: list[float]


class TextEmbeddingOutput(_OutputModel):
    """The vector of a text."""

    embedding: list[float]


class ZeroShotImageClassificationOutput(_OutputModel):
    """One probability per class, in the order of the classes."""

    probabilities: list[float]


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: As in the API.
        input_field: Field of its bodies that holds the inputs.
        required_inputs: What a model needs to read, as the fields of its card are called.
        body_type: Body with one input.
        batched_body_type: Body with several.
        output_type: What an input becomes.
        run: Runs the task on inputs and their body; one result per input.
    """

    name: str
    input_field: str
    required_inputs: tuple[str, ...]
    body_type: type[TaskBody]
    batched_body_type: type[TaskBody]
    output_type: type[BaseModel]
    run: Callable[[AsyncEngine, str, list[str], Any], Awaitable[Sequence[TaskResult]]]

    def select_body_type(self, batched: bool) -> type[TaskBody]:
        """Type of its bodies."""
        return self.batched_body_type if batched else self.body_type

    def is_supported_by(self, served: ServedModel) -> bool:
        """Whether a model can do it with the weights that are served."""
        inputs = [getattr(served.card, kind) for kind in self.required_inputs]
        return all(spec is not None and spec.modality in served.modalities for spec in inputs)

    def list_inputs(self, body: TaskBody) -> list[str]:
        """The inputs of a body."""
        inputs = getattr(body, self.input_field)
        return [inputs] if isinstance(inputs, str) else list(inputs)


async def _image_embedding(
    engine: AsyncEngine, model: str, images: list[str], body: ImageBody[Any]
) -> Sequence[TaskResult]:
    return await engine.image_embedding(
        ImageEmbeddingRequest(model=model, images=[*images], config=body.config or {})
    )


async def _text_embedding(
    engine: AsyncEngine, model: str, texts: list[str], body: TextBody[Any]
) -> Sequence[TaskResult]:
    return await engine.text_embedding(
        TextEmbeddingRequest(model=model, texts=texts, config=body.config or {})
    )


async def _zero_shot(
    engine: AsyncEngine, model: str, images: list[str], body: ZeroShotBody[Any]
) -> Sequence[TaskResult]:
    return await engine.zero_shot_classification(
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


async def check_job(handle: ModelHandle, task: Task, body: TaskBody, max_items: int) -> None:
    """Check what can be checked before a job is accepted.

    Raises:
        ModelError: An option in `config` is not the model's.
        PayloadTooLarge: There are more inputs than allowed.
        InvalidImage: An image is no base64.
    """
    inputs = task.list_inputs(body)
    if len(inputs) > max_items:
        raise PayloadTooLarge(f"{len(inputs)} inputs in one job; accepted: up to {max_items}")
    options = body.config or {}
    check_options(handle.served.card, options, "config")
    if "image" in task.required_inputs:
        handle.model.image_input(options.get("preprocessing"))
        await anyio.to_thread.run_sync(_check_images, inputs)


def _check_images(images: Sequence[str]) -> None:
    for position, image in enumerate(images):
        try:
            if not inputs_images.is_url(image):
                inputs_images.decode_payload(image)
        except InvalidImage as error:
            raise InvalidImage(f"image {position}: {error.message}") from None


async def _run_immediately(n_inputs: int, operation: EncodeCall) -> Sequence[TaskResult]:
    return await operation()


async def run_task(
    engine: AsyncEngine,
    task: Task,
    model: str,
    body: TaskBody,
    schedule: Callable[[int, EncodeCall], Awaitable[Sequence[TaskResult]]] = _run_immediately,
) -> bytes:
    """What a body becomes, as JSON text: one output, or a list of them for a batched body.

    Args:
        engine: The engine.
        task: The task.
        model: Id of the model.
        body: The body.
        schedule: Runs the call of a part, with its number of inputs.

    Raises:
        BatchFailed: Inputs of a batched body failed.
        GeoBentoError: The body as a whole, or its only input, failed.
    """
    inputs = task.list_inputs(body)

    async def answered(part: list[str]) -> Sequence[TaskResult]:
        return await schedule(len(part), lambda: task.run(engine, model, part, body))

    parts = await asyncio.gather(
        *map(answered, _split_inputs(inputs, body)), return_exceptions=True
    )
    answers: list[TaskResult] = []
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
        more = (
            f"; and {len(errors) - MAX_REPORTED_ERRORS} more"
            if len(errors) > MAX_REPORTED_ERRORS
            else ""
        )
        raise BatchFailed(
            f"{len(errors)} of {len(inputs)} inputs failed; send the others without them. "
            f"{'; '.join(errors[:MAX_REPORTED_ERRORS])}{more}"
        )
    outputs = [_output_fields(answer) for answer in answers]
    value = outputs if isinstance(body, task.batched_body_type) else outputs[0]
    return await anyio.to_thread.run_sync(_to_json, value)


def _split_inputs(inputs: list[str], body: TaskBody) -> list[list[str]]:
    """The inputs in parts of like size; none of one input unless it is the only one."""
    # Classes are encoded again for every part: few classes, small parts.
    size = max(MIN_PART_SIZE, len(body.classes) if isinstance(body, ZeroShotBody) else 0)
    count = math.ceil(len(inputs) / size)
    bounds = [len(inputs) * n // count for n in range(count + 1)]
    return [inputs[start:end] for start, end in pairwise(bounds)]


def _to_json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def _output_fields(result: TaskResult) -> dict[str, Any]:
    if isinstance(result, GeoBentoError):
        raise result
    if isinstance(result, Classification):
        return {"probabilities": result.probabilities}
    return {"embedding": result.data}
