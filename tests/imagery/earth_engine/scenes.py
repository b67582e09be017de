"""Queries and scenes for tests of Earth Engine."""

from __future__ import annotations

from typing import Any

from geobento.schemas.errors import (
    GeoBentoError,
)
from geobento.schemas.sample import Sample
from imagery.query import ImageQuery


def names(sample: Sample) -> list[str]:
    """The scenes that an answer names, without their collection."""
    assert sample.provenance is not None
    return [used.id.rsplit("/", 1)[1] for used in sample.provenance.scenes]


def sample_or_error(source: Any, request: ImageQuery) -> Sample | GeoBentoError:
    try:
        return source.fetch(request)  # type: ignore[no-any-return]
    except GeoBentoError as error:
        return error
