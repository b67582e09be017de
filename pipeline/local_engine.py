"""The whole pipeline in one process, without a server."""

from __future__ import annotations

import time
from threading import Lock

from geobento.client.operations import Operation, RequestT, ResultT
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
from inference.engine import LoadedModel
from inference.loading import load_model, model_device, model_precision
from inference.types import EncodeItem, EncodeResult, Precision
from models.weights import store
from models.weights.stored_model import StoredModel
from pipeline import inspection
from pipeline.engine import Engine
from pipeline.model_registry import ModelHandle, ModelRegistry
from pipeline.prepared_requests import ItemResult, PreparedRequest


class LocalEngine:
    """Answers requests in-process, from the models in the model store.

    Args:
        settings: Limits, sources and which models.
    """

    def __init__(self, settings: Settings) -> None:
        chosen = store.select_models(settings.models)
        self._stored_models = {entry.tag: entry for entry in chosen}
        self._loaded_models: dict[str, LoadedModel] = {}
        self._lock = Lock()
        self._device = devices.resolve_device(settings.device)
        self._requested_precision = settings.precision
        registry = ModelRegistry(
            ModelHandle(
                entry.model(),
                entry.to_served_model(),
                model_device(entry, self._device),
                self._precision_for(entry),
            )
            for entry in chosen
        )
        self._engine = Engine(registry, settings, allow_saving=True)

    def run(self, operation: Operation[RequestT, ResultT], request: RequestT) -> ResultT:
        """The result of an operation."""
        method = getattr(self, operation.name)
        result: ResultT = method() if request is None else method(request)
        return result

    def list_models(self) -> list[ServedModel]:
        """The served models."""
        return self._engine.registry.served()

    def describe_model(self, name: str) -> ServedModel:
        """One of them, by id or alias."""
        return self._engine.registry.find(name).served

    def image_embedding(self, request: ImageEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per image, in order."""
        return self._run(self._engine.prepare_images(request))

    def text_embedding(self, request: TextEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per text, in order."""
        return self._run(self._engine.prepare_texts(request))

    def zero_shot_classification(
        self, request: ZeroShotRequest
    ) -> list[Classification | GeoBentoError]:
        """One answer per image, in order."""
        return self._run(self._engine.prepare_zero_shot(request))

    def geo_embedding(self, request: GeoEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per region, in order."""
        return self._run(self._engine.prepare_regions(request))

    def pixel_embedding(self, request: PixelEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """The answer for the pixels of the request."""
        return self._run(self._engine.prepare_pixels(request))

    def plan_embedding(self, request: GeoEmbeddingRequest) -> EmbeddingPlan:
        """What a request would do."""
        return inspection.plan_embedding(self._engine, request)

    def inspect_patch(self, request: InspectRequest) -> Inspection:
        """What the pixels of a region are like."""
        return inspection.inspect_patch(self._engine, request)

    def _precision_for(self, entry: StoredModel) -> Precision:
        return model_precision(entry, self._requested_precision, self._device)

    def _run(self, prepared: PreparedRequest[ItemResult]) -> list[ItemResult | GeoBentoError]:
        start = time.perf_counter()
        results = self._encode(prepared.tag, prepared.items)
        return prepared.assemble(results, (time.perf_counter() - start) * 1000)

    def _encode(self, tag: str, items: list[EncodeItem]) -> list[EncodeResult]:
        with self._lock:
            if tag not in self._loaded_models:
                entry = self._stored_models[tag]
                device = model_device(entry, self._device)
                self._loaded_models[tag] = load_model(entry, device, self._precision_for(entry))
            return self._loaded_models[tag].run(items)
