"""What answers the Python functions: this process, or a server."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Protocol

from geobento.client.http import Client
from geobento.config import settings
from geobento.schemas.cards import ServedModel
from geobento.schemas.embedding import Classification, Embedding
from geobento.schemas.errors import GeoBentoError
from geobento.schemas.plan import EmbeddingPlan, Inspection
from geobento.schemas.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)

IN_PROCESS = "pipeline.local_engine:LocalEngine"
"""What answers without a server. Named, not imported: it needs torch and the model store."""


class EmbeddingEngine(Protocol):
    """What answers requests."""

    def list_models(self) -> list[ServedModel]:
        """What can be asked for."""

    def describe_model(self, name: str) -> ServedModel:
        """One of them, by id or alias."""

    def image_embedding(self, request: ImageEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per picture, in order."""

    def text_embedding(self, request: TextEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per text, in order."""

    def zero_shot_classification(
        self, request: ZeroShotRequest
    ) -> list[Classification | GeoBentoError]:
        """One answer per picture, in order."""

    def pixel_embedding(self, request: PixelEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """The answer for the pixels of the request."""

    def geo_embedding(self, request: GeoEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per place, in order."""

    def plan_embedding(self, request: GeoEmbeddingRequest) -> EmbeddingPlan:
        """What a request would do."""

    def inspect_patch(self, request: InspectRequest) -> Inspection:
        """What the pixels of a place are like."""


def get_engine() -> EmbeddingEngine:
    """What answers: the server of ``GEOBENTO_URL``, or this process."""
    return _open_engine(settings.load())


@lru_cache(maxsize=4)
def _open_engine(current: settings.Settings) -> EmbeddingEngine:
    if current.url is not None:
        key = current.api_key
        return Client(current.url, api_key=key.get_secret_value() if key is not None else None)
    module, _, name = IN_PROCESS.partition(":")
    local: EmbeddingEngine = getattr(import_module(module), name)(current)
    return local
