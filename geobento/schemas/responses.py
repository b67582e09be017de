"""Responses: the JSON bodies of the HTTP API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from geobento.schemas.embedding import ClassificationMeta, EmbeddingMeta
from geobento.schemas.records import FiniteRecord


class ErrorDetail(FiniteRecord):
    """An error."""

    type: Annotated[str, Field(examples=["invalid_request"])]
    """Type of the error, for programs."""
    message: str
    """What was wrong and what is accepted, for people."""
    field: str | None
    """Dotted path of the request field at fault."""
    detail: Any
    """Machine-readable details."""


class ErrorBody(FiniteRecord):
    """Body of every error response."""

    error: ErrorDetail


class EmbeddingItem(FiniteRecord):
    """One embedding."""

    data: list[float] | list[list[list[float | None]]] | str
    """The array: nested lists, or base64 of little-endian float32. Grid cells without data of a
    precomputed model are null in lists, NaN in base64."""
    shape: list[int]
    """(D,) or (D, H, W)."""
    dtype: Literal["float32"]
    """Type of the values."""
    meta: EmbeddingMeta
    """Metadata."""


class EmbeddingResponse(FiniteRecord):
    """One entry per item, in the order of the request; an entry is an embedding or an error."""

    model: str
    """Id of the model."""
    dim: int
    """Length D of the vectors."""
    embeddings: list[EmbeddingItem | ErrorBody]
    """One entry per image or region."""


class ClassificationItem(FiniteRecord):
    """The classification of one image."""

    probabilities: list[float]
    """One per class, in the order of `classes`; their sum is 1."""
    meta: ClassificationMeta
    """Metadata."""


class ZeroShotResponse(FiniteRecord):
    """One entry per image, in the order of the request; an entry is a result or an error."""

    model: str
    """Id of the model."""
    classes: list[str]
    """The classes of the request."""
    results: list[ClassificationItem | ErrorBody]
    """One entry per image."""
