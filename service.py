"""The deployment: one BentoML service with typed endpoints, and one runner service per model.

Serve it with ``bentoml serve`` in this folder. `build_service` assembles everything from the
settings. Requests go to the pipeline, forward passes to the runners.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import bentoml
from bentoml.models import BentoModel
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from compat import openapi as compat_openapi
from compat.jobs import worker
from compat.jobs.worker import JobWorker
from compat.openai import routes as openai
from compat.vitrivr import routes as vitrivr
from geobento import __version__
from geobento.client import operations
from geobento.config import settings
from geobento.config.api_keys import ApiKey
from geobento.config.settings import Settings
from geobento.limiters import AdmissionLimiter
from geobento.observability import metrics, request_context
from geobento.schemas import serialization
from geobento.schemas.cards import ServedModel
from geobento.schemas.errors import GeoBentoError, ModelStoreError
from geobento.schemas.plan import EmbeddingPlan, Inspection
from geobento.schemas.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from geobento.schemas.responses import EmbeddingResponse, ZeroShotResponse
from imagery.stac.catalogs import presets
from inference import cpu_pool, devices
from inference.loading import model_device, model_precision
from models.weights import store
from models.weights.stored_model import StoredModel
from pipeline.async_engine import AsyncEngine
from pipeline.engine import Engine
from pipeline.model_registry import ModelHandle, ModelRegistry, publish_model_info
from pipeline.offload import offload
from runners import bentoml_patches, gc, tracing
from runners.bentoml_patches import graceful_shutdown, supervisor
from runners.encoders import make_encoder
from runners.runner import make_runner, runner_name
from server import app, exposure, http_protocol, parsing, responses, startup
from server import logging as server_logging
from server.middleware import api_keys
from server.middleware.stack import middleware_stack
from server.openapi import document

logger = logging.getLogger("geobento")

TIMEOUT_MARGIN_S = 15.0
"""BentoML's own deadlines end so much later than ours, so that a timeout has our error body."""

WITHOUT_EXAMPLES = ConfigDict(json_schema_extra={})
"""BentoML writes an OpenAPI document of its own when it builds, and fails on `examples`."""

ERROR_FORMATS = {"v1": openai.ERROR_FORMAT, "api": vitrivr.ERROR_FORMAT}
"""Formats of errors, by the first part of the path."""


@dataclass(frozen=True)
class Deployment:
    """What the settings and the model store say about this deployment.

    Attributes:
        settings: The settings.
        keys: API keys that are accepted; empty: no key is needed.
        stored_models: The models to serve.
        device: Device of forward passes.
        concurrent_batches: Batches that a runner computes at a time.
        registry: The models that requests can name.
        tracing: BentoML's configuration of spans.
    """

    settings: Settings
    keys: tuple[ApiKey, ...]
    stored_models: tuple[StoredModel, ...]
    device: str
    concurrent_batches: int
    registry: ModelRegistry
    tracing: dict[str, Any]

    @classmethod
    def from_settings(cls, config: Settings) -> Self:
        """Check the settings and choose the models.

        Raises:
            GeoBentoError: The STAC catalog or the job store cannot be used.
            ModelStoreError: The model store lacks a model, or is empty.
            SettingsError: A setting cannot be used.
        """
        keys = api_keys.configured_keys(config)
        worker.make_job_store(config)
        if config.stac is not None:
            presets.check_stac_location(config.stac)
        stored_models = tuple(store.select_models(config.models))
        if not stored_models:
            raise ModelStoreError("the model store is empty; run: geobento models import mosaiks")
        device = devices.resolve_device(config.device)
        registry = ModelRegistry(
            ModelHandle(
                stored.model(),
                stored.to_served_model(),
                model_device(stored, device),
                model_precision(stored, config.precision, device),
            )
            for stored in stored_models
        )
        return cls(
            config,
            keys,
            stored_models,
            device,
            cpu_pool.concurrent_batches(device, config.runner_workers),
            registry,
            tracing.tracing_options(os.environ),
        )

    @property
    def bentoml_timeout_s(self) -> float:
        """Deadline of BentoML for a request to the API server, seconds."""
        return self.settings.request_timeout_s + 2 * TIMEOUT_MARGIN_S

    def runner_attributes(self) -> dict[str, Any]:
        """Runners of the models as attributes of the service class.

        A precomputed model has no runner; its attribute makes a Bento take the model along.
        """
        return {
            _runner_attribute(stored): bentoml.depends(self._runner(stored))
            if stored.is_on_the_fly
            else BentoModel(stored.tag)
            for stored in self.stored_models
        }

    def _runner(self, stored: StoredModel) -> bentoml.Service[Any]:
        return make_runner(
            stored,
            device=self.device,
            precision=model_precision(stored, self.settings.precision, self.device),
            workers=self.settings.runner_workers,
            timeout_s=self.settings.request_timeout_s + TIMEOUT_MARGIN_S,
            data_dir=self.settings.data_dir,
            tracing=self.tracing,
        )


def _runner_attribute(stored: StoredModel) -> str:
    return runner_name(stored.metadata["model"], stored.metadata["variant"])


def request_body(request_type: type[BaseModel], **options: Any) -> type[BaseModel]:
    """The body of an endpoint: the request as BentoML's input descriptor.

    Args:
        request_type: Type of the request.
        **options: How forms are read, see `parsing.read_request`.
    """

    class Body(request_type, bentoml.IODescriptor):  # type: ignore[valid-type, misc]
        __doc__ = request_type.__doc__
        __root_input__ = True
        model_config = WITHOUT_EXAMPLES

        @classmethod
        async def from_http_request(cls, request: Request, serde: Any) -> Any:
            """The typed request, or the error to respond with."""
            return await parsing.read_request(request, request_type, **options)

    Body.__name__ = Body.__qualname__ = f"{request_type.__name__}Body"
    return Body


IMAGE_BODY = request_body(ImageEmbeddingRequest, file_field="images")
TEXT_BODY = request_body(TextEmbeddingRequest)
ZERO_SHOT_BODY = request_body(ZeroShotRequest, file_field="images")
GEO_BODY = request_body(GeoEmbeddingRequest, form=(PixelEmbeddingRequest, "pixels"))


class GeoBento:
    """Images and regions of the Earth into vectors."""

    deployment: ClassVar[Deployment]
    """Set by `build_service`, in the subclass that it makes."""

    def __init__(self) -> None:
        config, deployment = self.deployment.settings, self.deployment
        pending = metrics.PENDING_BYTES.labels("inputs")
        inputs = AdmissionLimiter(config.max_pending_mb * 2**20, "inputs for models", pending.set)
        self.encoders = {
            stored.tag: make_encoder(
                stored,
                getattr(self, _runner_attribute(stored)),
                device=deployment.device,
                workers=config.runner_workers,
                concurrent_batches=deployment.concurrent_batches,
                max_queue_size=config.max_queue_size,
                input_limiter=inputs,
            )
            for stored in deployment.stored_models
        }
        engine = Engine(deployment.registry, config)
        self.engine = AsyncEngine(engine, self.encoders, 4 * config.fetch_threads)
        self.job_worker = vitrivr.make_job_worker(lambda: self.engine, config, self.__is_ready__)

    @bentoml.on_startup
    async def start(self) -> None:
        """Prepare the process before its first request. The steps depend on their order."""
        config, deployment = self.deployment.settings, self.deployment
        exposure.warn_if_public(exposure.listening_addresses(), has_keys=bool(deployment.keys))
        metrics.remove_dead_process_metrics()
        publish_model_info(deployment.registry, deployment.device, config.precision)
        lock = graceful_shutdown.lock_file(config.data_dir)
        graceful_shutdown.hold_shutdown(lock, deployment.bentoml_timeout_s)
        await self.job_worker.start()
        self._open_imagery_source()
        gc.freeze_gc()  # last: the objects of the steps before are permanent, too

    @bentoml.on_shutdown
    async def stop(self) -> None:
        """Leave unfinished jobs for the next start."""
        await self.job_worker.stop()

    def _open_imagery_source(self) -> None:
        """Open the preferred source before the first request; this may write the demo archive.

        The service starts without its source, too: images need none, and it may come back.
        """
        engine = self.engine.engine
        engine.warm_up()
        try:
            engine.fetcher.source("auto")
        except GeoBentoError as error:
            logger.error("imagery: %s", error.message)

    async def __is_ready__(self) -> bool:
        """Whether every runner has loaded its model and answered a warm-up forward."""
        return all([await encoder.is_ready() for encoder in self.encoders.values()])

    @bentoml.api(
        route=operations.IMAGE_EMBEDDING.path, input_spec=IMAGE_BODY, output_spec=EmbeddingResponse
    )
    async def image_embedding(self, request: ImageEmbeddingRequest | GeoBentoError) -> Response:
        """Embed images: one vector per image."""
        return await self._embeddings(self.engine.image_embedding, request)

    @bentoml.api(
        route=operations.TEXT_EMBEDDING.path, input_spec=TEXT_BODY, output_spec=EmbeddingResponse
    )
    async def text_embedding(self, request: TextEmbeddingRequest | GeoBentoError) -> Response:
        """Embed texts: one vector per text, in the space of the images."""
        return await self._embeddings(self.engine.text_embedding, request)

    @bentoml.api(
        route=operations.ZERO_SHOT_CLASSIFICATION.path,
        input_spec=ZERO_SHOT_BODY,
        output_spec=ZeroShotResponse,
    )
    async def zero_shot_classification(self, request: ZeroShotRequest | GeoBentoError) -> Response:
        """Classify images: a probability per class for each image."""
        return await self._respond(
            self.engine.zero_shot_classification, request, _encode_classifications
        )

    @bentoml.api(
        route=operations.GEO_EMBEDDING.path, input_spec=GEO_BODY, output_spec=EmbeddingResponse
    )
    async def geo_embedding(
        self, request: GeoEmbeddingRequest | PixelEmbeddingRequest | GeoBentoError
    ) -> Response:
        """Embed regions, or user-supplied pixels: one vector or grid each."""
        if isinstance(request, PixelEmbeddingRequest):
            return await self._embeddings(self.engine.pixel_embedding, request)
        return await self._embeddings(self.engine.geo_embedding, request)

    async def _embeddings(self, operation: Any, request: Any) -> Response:
        return await self._respond(operation, request, _encode_embeddings)

    async def _respond(
        self, operation: Any, request: Any, encode: Callable[[Any, Any, ServedModel], bytes]
    ) -> Response:
        if isinstance(request, GeoBentoError):
            return responses.error_response(request)
        registry, timeout_s = self.deployment.registry, self.deployment.settings.request_timeout_s

        async def body() -> bytes:
            results = await operation(request)
            modality = getattr(request, "modality", None)
            served = registry.find(request.model, request.config, modality).served
            with request_context.stage("encode"):
                data = [getattr(result, "data", None) for result in results]
                return await offload(data, encode, results, request, served)

        return await responses.respond(body(), timeout_s)


def _encode_embeddings(results: Any, request: Any, served: ServedModel) -> bytes:
    return serialization.encode_embeddings(served.card.id, served.dim, results, request.encoding)


def _encode_classifications(results: Any, request: Any, served: ServedModel) -> bytes:
    return serialization.encode_classifications(served.card.id, request.classes, results)


def current_engine() -> AsyncEngine:
    """The engine of the running service, for mounted routes."""
    engine: AsyncEngine = bentoml.get_current_service().engine
    return engine


def current_job_worker() -> JobWorker:
    """The job worker of the running service, for mounted routes."""
    job_worker: JobWorker = bentoml.get_current_service().job_worker
    return job_worker


async def plan_embedding(request: GeoEmbeddingRequest) -> EmbeddingPlan:
    """Say what a request to embed regions would do."""
    return await current_engine().plan_embedding(request)


async def inspect_patch(request: InspectRequest) -> Inspection:
    """Describe the pixels of a region."""
    return await current_engine().inspect_patch(request)


def mounted_app(deployment: Deployment) -> Starlette:
    """The routes beside the typed endpoints."""
    config, registry = deployment.settings, deployment.registry
    timeout_s = config.request_timeout_s
    planned, inspected = operations.PLAN_EMBEDDING, operations.INSPECT_PATCH

    def find_model(name: str) -> ServedModel:
        return registry.find(name).served

    return app.build_app(
        get_models=registry.served,
        find_model=find_model,
        get_document=lambda: document.build_document(__version__, compat_openapi.operations()),
        extra_routes=[
            app.post_route(planned.path, planned.request, plan_embedding, timeout_s),
            app.post_route(inspected.path, inspected.request, inspect_patch, timeout_s),
            *openai.OpenAIApi(current_engine, timeout_s, config.max_client_batch_size).routes(),
            *vitrivr.VitrivrApi(
                current_engine, current_job_worker, timeout_s, config.max_client_batch_size
            ).routes(),
        ],
    )


def build_service(config: Settings) -> bentoml.Service[Any]:
    """Assemble the service.

    Args:
        config: The settings.

    Raises:
        GeoBentoError: As in `Deployment.from_settings`.
        ModelStoreError: As there.
        SettingsError: As there.
    """
    server_logging.configure_logging(config.log_format)
    bentoml_patches.check_version()
    supervisor.patch_supervisor()
    http_protocol.ignore_upgrade_offers()
    deployment = Deployment.from_settings(config)
    attributes = {"deployment": deployment, **deployment.runner_attributes()}
    service: bentoml.Service[Any] = bentoml.service(
        name="geobento",
        workers=1,
        traffic={"timeout": deployment.bentoml_timeout_s},
        runner_probe={"enabled": False},
        logging={"access": {"enabled": config.log_format == "text"}},
        tracing=deployment.tracing,
    )(type("GeoBento", (GeoBento,), {"__doc__": GeoBento.__doc__, **attributes}))
    for middleware, options in middleware_stack(config, deployment.keys, ERROR_FORMATS):
        service.add_asgi_middleware(middleware, **options)
    service.mount_asgi_app(mounted_app(deployment), path="/", name="geobento")
    return service


with startup.exit_on_config_error():
    svc = build_service(settings.get())
