"""The whole way in one process: models opened here instead of behind a server."""

from __future__ import annotations

import time
from threading import Lock

from geobento.config.settings import Settings
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
from inference import devices
from inference.batches import EncodeItem, EncodeResult, LoadedModel
from inference.precision import Precision
from models.weights import store
from pipeline import inspection
from pipeline.engine import Engine
from pipeline.prepared_requests import Answer, Job
from pipeline.registry import OpenModel, Registry


class LocalEngine:
    """Answers requests in-process, from the models in the model store.

    Args:
        settings: Limits, sources and which models.
    """

    def __init__(self, settings: Settings) -> None:
        chosen = store.choose(settings.models)
        self._stored = {entry.tag: entry for entry in chosen}
        self._loaded: dict[str, LoadedModel] = {}
        self._lock = Lock()
        self._device = devices.choose(settings.device)
        self._wanted_precision = settings.precision
        registry = Registry(
            OpenModel(
                entry.model(),
                entry.served(),
                entry.device(self._device),
                self._precision(entry),
            )
            for entry in chosen
        )
        self._engine = Engine(registry, settings, may_save=True)

    def list_models(self) -> list[ServedModel]:
        """What can be asked for."""
        return self._engine.registry.served()

    def describe_model(self, name: str) -> ServedModel:
        """One of them, by id or alias."""
        return self._engine.registry.find(name).served

    def image_embedding(self, request: ImageEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per picture, in order."""
        return self._answers(self._engine.image_job(request))

    def text_embedding(self, request: TextEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per text, in order."""
        return self._answers(self._engine.text_job(request))

    def zero_shot_classification(
        self, request: ZeroShotRequest
    ) -> list[Classification | GeoBentoError]:
        """One answer per picture, in order."""
        return self._answers(self._engine.zero_shot_job(request))

    def geo_embedding(self, request: GeoEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per place, in order."""
        return self._answers(self._engine.geo_job(request))

    def pixel_embedding(self, request: PixelEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """The answer for the pixels of the request."""
        return self._answers(self._engine.pixel_job(request))

    def plan_embedding(self, request: GeoEmbeddingRequest) -> EmbeddingPlan:
        """What a request would do."""
        return inspection.plan_embedding(self._engine, request)

    def inspect_patch(self, request: InspectRequest) -> Inspection:
        """What the pixels of a place are like."""
        return inspection.inspect_patch(self._engine, request)

    def _precision(self, entry: store.StoredModel) -> Precision:
        return entry.precision(self._wanted_precision, self._device)

    def _answers(self, job: Job[Answer]) -> list[Answer | GeoBentoError]:
        start = time.perf_counter()
        results = self._encode(job.tag, job.items)
        return job.answers(results, (time.perf_counter() - start) * 1000)

    def _encode(self, tag: str, items: list[EncodeItem]) -> list[EncodeResult]:
        with self._lock:
            if tag not in self._loaded:
                entry = self._stored[tag]
                device = entry.device(self._device)
                self._loaded[tag] = entry.load(device, self._precision(entry))
            return self._loaded[tag].run(items)
