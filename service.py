"""The deployment: one BentoML service with typed endpoints, and a runner per model.

Serve it with ``bentoml serve`` in this folder. It does no work itself: requests go to the
pipeline, forward passes to the runners.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, ClassVar

import bentoml
from bentoml.models import BentoModel
from pydantic import ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from compat import openai
from compat import openapi as other_apis
from compat.jobs import worker
from compat.jobs.worker import JobWorker
from compat.vitrivr import routes as vitrivr_routes
from geobento import __version__
from geobento.config import settings
from geobento.limiters import AdmissionLimiter
from geobento.observability import metrics, request_context
from geobento.schemas import serialization
from geobento.schemas.cards import ServedModel
from geobento.schemas.errors import GeoBentoError, ModelStoreError
from geobento.schemas.requests import (
    EmbeddingResponse,
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
    ZeroShotResponse,
)
from imagery.stac.catalogs import presets
from inference import cpu_pool, devices
from inference.loading import load_model, model_device, model_precision
from models.weights import store
from models.weights.stored_model import StoredModel
from pipeline.async_engine import AsyncEngine
from pipeline.engine import Engine
from pipeline.model_registry import ModelHandle, ModelRegistry
from pipeline.offload import offload
from runners import gc, tracing
from runners.bentoml_patches import dispatcher, graceful_shutdown, supervisor
from runners.client import RunnerClient
from runners.in_process import InProcessEncoder
from runners.runner import make_runner, runner_name
from server import app, exposure, parsing, responses, startup
from server import logging as server_logging
from server.middleware import api_keys
from server.middleware.stack import middleware_stack
from server.openapi import document

logger = logging.getLogger("geobento")

with startup.exit_on_config_error():
    SETTINGS = settings.get()
    server_logging.configure_logging(SETTINGS.log_format)
    supervisor.patch_supervisor()
    TRACING = tracing.tracing_options(os.environ)
    API_KEYS = api_keys.configured_keys(SETTINGS)
    worker.make_job_store(SETTINGS)
    if SETTINGS.stac is not None:
        presets.check_stac_location(SETTINGS.stac)
    STORED_MODELS = store.select_models(SETTINGS.models)
    if not STORED_MODELS:
        raise ModelStoreError("the model store is empty; run: geobento models import mosaiks")
    DEVICE = devices.resolve_device(SETTINGS.device)
    CONCURRENT_BATCHES = cpu_pool.concurrent_batches(DEVICE, SETTINGS.runner_workers)
    dispatcher.patch_dispatcher(CONCURRENT_BATCHES)
    REGISTRY = ModelRegistry(
        ModelHandle(
            entry.model(),
            entry.to_served_model(),
            model_device(entry, DEVICE),
            model_precision(entry, SETTINGS.precision, DEVICE),
        )
        for entry in STORED_MODELS
    )

# BentoML's own deadlines lie behind ours, so that a late answer still has our shape.
TIMEOUT_MARGIN_S = 15.0

# BentoML writes an OpenAPI document of its own when it builds, and fails on `examples`.
WITHOUT_EXAMPLES = ConfigDict(json_schema_extra={})


class ImageBody(ImageEmbeddingRequest, bentoml.IODescriptor):
    """Body of `/image_embedding`: JSON or multipart."""

    __root_input__ = True
    model_config = WITHOUT_EXAMPLES

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Any:
        """The typed request, or the error that answers it."""
        return await parsing.read_request(request, ImageEmbeddingRequest, file_field="images")


class GeoBody(GeoEmbeddingRequest, bentoml.IODescriptor):
    """Body of `/geo_embedding`: JSON, or multipart with pixels."""

    __root_input__ = True
    model_config = WITHOUT_EXAMPLES

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Any:
        """The typed request, or the error that answers it."""
        return await parsing.read_request(
            request, GeoEmbeddingRequest, form=(PixelEmbeddingRequest, "pixels")
        )


class TextBody(TextEmbeddingRequest, bentoml.IODescriptor):
    """Body of `/text_embedding`: JSON."""

    __root_input__ = True
    model_config = WITHOUT_EXAMPLES

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Any:
        """The typed request, or the error that answers it."""
        return await parsing.read_request(request, TextEmbeddingRequest)


class ZeroShotBody(ZeroShotRequest, bentoml.IODescriptor):
    """Body of `/zero_shot_classification`: JSON or multipart."""

    __root_input__ = True
    model_config = WITHOUT_EXAMPLES

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Any:
        """The typed request, or the error that answers it."""
        return await parsing.read_request(request, ZeroShotRequest, file_field="images")


def runner_attribute(entry: StoredModel) -> str:
    """Name of a model's runner, or of what stands in for it, at the front service."""
    return runner_name(entry.metadata["model"], entry.metadata["variant"])


class GeoBento:
    """Pictures and places into vectors."""

    engine: ClassVar[AsyncEngine]
    """What answers in this process, for the routes that are mounted beside the endpoints."""
    job_worker: ClassVar[JobWorker]
    """What works on the jobs of vitrivr's API."""

    def __init__(self) -> None:
        held = metrics.PENDING_BYTES.labels("inputs")
        inputs = AdmissionLimiter(SETTINGS.max_pending_mb * 2**20, "inputs for models", held.set)
        runners: dict[str, RunnerClient | InProcessEncoder] = {
            entry.tag: RunnerClient(
                getattr(self, runner_attribute(entry)),
                cpu_pool.max_items_per_call(DEVICE, entry.model().card.max_batch_size),
                model_name=entry.to_served_model().name,
                workers=SETTINGS.runner_workers,
                concurrent_batches=CONCURRENT_BATCHES,
                max_queue_size=SETTINGS.max_queue_size,
                input_limiter=inputs,
            )
            if entry.is_on_the_fly
            else InProcessEncoder(load_model(entry))
            for entry in STORED_MODELS
        }
        self.runners = runners
        GeoBento.engine = AsyncEngine(
            Engine(REGISTRY, SETTINGS), runners, 4 * SETTINGS.fetch_threads
        )
        GeoBento.job_worker = vitrivr_routes.make_job_worker(
            lambda: GeoBento.engine, SETTINGS, self.__is_ready__
        )

    @bentoml.on_startup
    def warn_if_public(self) -> None:
        """Warn where that is everyone."""
        exposure.warn_if_public(exposure.listening_addresses(), has_keys=bool(API_KEYS))

    @bentoml.on_startup
    def publish_model_info(self) -> None:
        """Say what is served, drop what killed processes left, stop before the runners do."""
        metrics.remove_dead_process_metrics()
        for opened in REGISTRY.handles:
            metrics.MODEL_INFO.labels(
                opened.served.name, opened.served.tag, opened.precision, DEVICE
            ).set(1)
            wants_int8 = SETTINGS.precision == "int8" and "int8" in opened.served.card.precisions
            if wants_int8 and opened.precision != "int8":
                logger.warning(
                    "%s computes in %s: see GEOBENTO_PRECISION for where int8 is not taken",
                    opened.served.tag,
                    opened.precision,
                )
        graceful_shutdown.hold_shutdown(
            graceful_shutdown.lock_file(SETTINGS.data_dir),
            SETTINGS.request_timeout_s + 2 * TIMEOUT_MARGIN_S,
        )

    @bentoml.on_startup
    async def start_job_worker(self) -> None:
        """Go on with the jobs that were accepted before."""
        await self.job_worker.start()

    @bentoml.on_shutdown
    async def stop_job_worker(self) -> None:
        """Leave the jobs that are not done for the next start."""
        await self.job_worker.stop()

    @bentoml.on_startup
    def open_imagery_source(self) -> None:
        """Open the preferred source before the first request (may write the demo archive).

        A source that is down stops no start: pictures need none, and it may come back.
        """
        self.engine.engine.warm_up()
        try:
            self.engine.engine.fetcher.source("auto")
        except GeoBentoError as error:
            logger.error("imagery: %s", error.message)

    @bentoml.on_startup
    def freeze_gc(self) -> None:
        """Last of all: what is there by now stays."""
        gc.freeze_gc()

    async def __is_ready__(self) -> bool:
        """Whether every runner has loaded its model and answered a warm-up forward."""
        ready = [await runner.is_ready() for runner in self.runners.values()]
        return all(ready)

    @bentoml.api(route="/image_embedding", input_spec=ImageBody, output_spec=EmbeddingResponse)
    async def image_embedding(self, request: ImageEmbeddingRequest | GeoBentoError) -> Response:
        """Pictures in, one vector per picture out."""
        return await self._embedding_response(self.engine.image_embedding, request)

    @bentoml.api(route="/text_embedding", input_spec=TextBody, output_spec=EmbeddingResponse)
    async def text_embedding(self, request: TextEmbeddingRequest | GeoBentoError) -> Response:
        """Texts in, one vector per text out, in the space of the model's pictures."""
        return await self._embedding_response(self.engine.text_embedding, request)

    @bentoml.api(
        route="/zero_shot_classification", input_spec=ZeroShotBody, output_spec=ZeroShotResponse
    )
    async def zero_shot_classification(self, request: ZeroShotRequest | GeoBentoError) -> Response:
        """Pictures and names of classes in, a probability per class for every picture out."""
        return await self._respond(
            self.engine.zero_shot_classification,
            request,
            lambda found, asked, model: serialization.encode_classifications(
                model.card.id, asked.classes, found
            ),
        )

    @bentoml.api(route="/geo_embedding", input_spec=GeoBody, output_spec=EmbeddingResponse)
    async def geo_embedding(
        self, request: GeoEmbeddingRequest | PixelEmbeddingRequest | GeoBentoError
    ) -> Response:
        """A place and a time window, or pixels, in; a vector or a grid of vectors out."""
        if isinstance(request, PixelEmbeddingRequest):
            return await self._embedding_response(self.engine.pixel_embedding, request)
        return await self._embedding_response(self.engine.geo_embedding, request)

    async def _embedding_response(self, operation: Any, request: Any) -> Response:
        return await self._respond(
            operation,
            request,
            lambda found, asked, model: serialization.encode_embeddings(
                model.card.id, model.dim, found, asked.encoding
            ),
        )

    async def _respond(
        self, operation: Any, request: Any, encode: Callable[[Any, Any, ServedModel], bytes]
    ) -> Response:
        if isinstance(request, GeoBentoError):
            return responses.error_response(request)

        async def work() -> bytes:
            found = await operation(request)
            modality = getattr(request, "modality", None)
            served = REGISTRY.find(request.model, request.config, modality).served
            with request_context.stage("encode"):
                data = [getattr(each, "data", None) for each in found]
                return await offload(data, encode, found, request, served)

        return await responses.respond(work(), SETTINGS.request_timeout_s)


for entry in STORED_MODELS:
    if entry.is_on_the_fly:
        runner = make_runner(
            entry,
            device=DEVICE,
            precision=model_precision(entry, SETTINGS.precision, DEVICE),
            workers=SETTINGS.runner_workers,
            timeout_s=SETTINGS.request_timeout_s + TIMEOUT_MARGIN_S,
            data_dir=SETTINGS.data_dir,
            tracing=TRACING,
        )
        setattr(GeoBento, runner_attribute(entry), bentoml.depends(runner))
    else:  # a Bento takes along what a service names
        setattr(GeoBento, runner_attribute(entry), BentoModel(entry.tag))

svc = bentoml.service(
    name="geobento",
    workers=1,
    traffic={"timeout": SETTINGS.request_timeout_s + 2 * TIMEOUT_MARGIN_S},
    runner_probe={"enabled": False},
    logging={"access": {"enabled": SETTINGS.log_format == "text"}},
    tracing=TRACING,
)(GeoBento)
ERROR_SHAPES = {"v1": openai.ERROR_SHAPE, "api": vitrivr_routes.ERROR_SHAPE}
for layer, options in middleware_stack(SETTINGS, API_KEYS, ERROR_SHAPES):
    svc.add_asgi_middleware(layer, **options)
svc.mount_asgi_app(
    app.build_app(
        get_models=REGISTRY.served,
        find_model=lambda name: REGISTRY.find(name).served,
        get_document=lambda: document.build_document(__version__, other_apis.operations()),
        extra_routes=[
            app.post_route(
                "/geo_embedding/plan",
                GeoEmbeddingRequest,
                lambda asked: GeoBento.engine.plan_embedding(asked),  # noqa: PLW0108 - set later
                SETTINGS.request_timeout_s,
            ),
            app.post_route(
                "/inspect",
                InspectRequest,
                lambda asked: GeoBento.engine.inspect_patch(asked),  # noqa: PLW0108 - set later
                SETTINGS.request_timeout_s,
            ),
            *openai.routes(lambda: GeoBento.engine, SETTINGS.request_timeout_s),
            *vitrivr_routes.routes(
                lambda: GeoBento.engine,
                lambda: GeoBento.job_worker,
                SETTINGS.request_timeout_s,
                SETTINGS.max_client_batch_size,
            ),
        ],
    ),
    path="/",
    name="geobento",
)
