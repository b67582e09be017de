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
    """Embed images: one vector per image, in order.

    Args:
        model: Id or alias; see `list_models`.
        images: Encoded images as bytes, or paths of files.
        normalize: Scale to unit length; None: the default of the card.
        config: Options of the model.

    Raises:
        GeoBentoError: The request fails, or the first image that failed; `field` names it.
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
    """Embed texts: one vector per text, in order, in the space of the model's images.

    Args:
        model: Id or alias of a model that reads texts; see `list_models`.
        texts: The texts.
        normalize: Scale to unit length; None: the default of the card.

    Raises:
        GeoBentoError: The request fails, or the first text that failed; `field` names it.
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
    """Classify images without training (zero-shot).

    Args:
        model: Id or alias of a model that reads images and texts; see `list_models`.
        images: Encoded images as bytes, or paths of files.
        classes: Names of the classes.
        template: Prompt for every class; ``{}`` stands for its name.
        config: Options of the model.

    Raises:
        GeoBentoError: The request fails, or the first image that failed; `field` names it.
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
    """List the models that can be used, with their cards."""
    return get_engine().run(operations.LIST_MODELS, None)


def describe_model(model: str) -> ServedModel:
    """Describe a model: its card and its weights.

    Args:
        model: Id or alias.

    Raises:
        ModelNotFound: The model is not served; the message says how to import it.
    """
    return get_engine().run(operations.DESCRIBE_MODEL, model)


def _read_images(images: Sequence[bytes | str | Path]) -> list[bytes]:
    return [image if isinstance(image, bytes) else Path(image).read_bytes() for image in images]
