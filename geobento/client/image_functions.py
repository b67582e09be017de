"""Python functions for images, texts and models: in-process or against a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geobento.client import operations
from geobento.client.engine import get_engine, raise_first_error
from geobento.schemas.cards import ServedModel
from geobento.schemas.embedding import Classification, Embedding
from geobento.schemas.requests import ImageEmbeddingRequest, TextEmbeddingRequest, ZeroShotRequest
from geobento.schemas.validation import validate


def get_image_embeddings(
    model: str,
    images: Sequence[bytes | str | Path],
    *,
    normalize: bool | None = None,
    config: dict[str, Any] | None = None,
) -> list[Embedding]:
    """The embeddings of pictures, in their order.

    Args:
        model: Id or alias; see `list_models`.
        images: Encoded pictures as bytes, or paths of files.
        normalize: Scale to unit length; None: as the card says.
        config: Options of the model.

    Raises:
        GeoBentoError: The request, or the first of the pictures that failed; `field` names it.
    """
    request = validate(
        ImageEmbeddingRequest,
        {
            "model": model,
            "images": _read_images(images),
            "normalize": normalize,
            "config": config or {},
        },
    )
    return raise_first_error(get_engine().run(operations.IMAGE_EMBEDDING, request), "images")


def get_text_embeddings(
    model: str, texts: Sequence[str], *, normalize: bool | None = None
) -> list[Embedding]:
    """The embeddings of texts, in their order and in the space of the model's pictures.

    Args:
        model: Id or alias of a model that reads texts; see `list_models`.
        texts: What to embed.
        normalize: Scale to unit length; None: as the card says.

    Raises:
        GeoBentoError: The request, or the first of the texts that failed; `field` names it.
    """
    request = validate(
        TextEmbeddingRequest, {"model": model, "texts": list(texts), "normalize": normalize}
    )
    return raise_first_error(get_engine().run(operations.TEXT_EMBEDDING, request), "texts")


def classify_images(
    model: str,
    images: Sequence[bytes | str | Path],
    classes: Sequence[str],
    *,
    template: str = "{}",
    config: dict[str, Any] | None = None,
) -> list[Classification]:
    """Which of the given classes every picture shows, without training on them (zero shot).

    Args:
        model: Id or alias of a model that reads pictures and texts; see `list_models`.
        images: Encoded pictures as bytes, or paths of files.
        classes: Names of the classes.
        template: Sentence that every class is put into, at ``{}``.
        config: Options of the model.

    Raises:
        GeoBentoError: The request, or the first of the pictures that failed; `field` names it.
    """
    request = validate(
        ZeroShotRequest,
        {
            "model": model,
            "images": _read_images(images),
            "classes": list(classes),
            "template": template,
            "config": config or {},
        },
    )
    return raise_first_error(
        get_engine().run(operations.ZERO_SHOT_CLASSIFICATION, request), "images"
    )


def list_models() -> list[ServedModel]:
    """The models that can be asked for, with their cards."""
    return get_engine().run(operations.LIST_MODELS, None)


def describe_model(model: str) -> ServedModel:
    """What there is to know about a model: its card and which weights are served.

    Args:
        model: Id or alias.

    Raises:
        ModelNotFound: It is not served; the message says how to import it.
    """
    return get_engine().run(operations.DESCRIBE_MODEL, model)


def _read_images(images: Sequence[bytes | str | Path]) -> list[bytes]:
    return [image if isinstance(image, bytes) else Path(image).read_bytes() for image in images]
