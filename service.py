"""The deployment: one BentoML service with two typed endpoints, and a runner per model.

Serve it with ``bentoml serve`` in this folder. It does no work itself: requests go to the
pipeline, forward passes to the runners.
"""

from __future__ import annotations

import logging
from typing import Any

import anyio
import anyio.to_thread
import bentoml
from pydantic import ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from edge import answers, body, guard, openapi, routes
from geobento import __version__, settings, wire
from geobento.errors import GeoBentoError, ModelStoreError
from geobento.requests import EmbeddingResponse, GeoEmbeddingRequest, ImageEmbeddingRequest
from models import devices, store
from pipeline.engine import Engine, Job
from pipeline.registry import OpenModel, Registry
from runners.client import RunnerClient
from runners.runner import make_runner, runner_name

logger = logging.getLogger("geobento")

SETTINGS = settings.get()
STORED = store.choose(SETTINGS.models)
if not STORED:
    raise ModelStoreError("the model store is empty; run: geobento models import mosaiks")
DEVICE = devices.choose(SETTINGS.device)
REGISTRY = Registry(OpenModel(entry.model(), entry.served(), DEVICE) for entry in STORED)

# BentoML's own deadlines lie behind ours, so that a late answer still has our shape.
BEHIND_S = 15.0
ABOUT = """Pictures and places into vectors.

`POST /image_embedding` takes pictures, `POST /geo_embedding` a place and a time window for which
the service fetches satellite imagery. `GET /models` says what is served."""

# BentoML writes an OpenAPI document of its own when it builds, and fails on `examples`.
WITHOUT_EXAMPLES = ConfigDict(json_schema_extra={})


class ImageBody(ImageEmbeddingRequest, bentoml.IODescriptor):
    """Body of `/image_embedding`: JSON or multipart."""

    __root_input__ = True
    model_config = WITHOUT_EXAMPLES

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Any:
        """The typed request, or the error that answers it."""
        return await body.read(request, ImageEmbeddingRequest, files="images")


class GeoBody(GeoEmbeddingRequest, bentoml.IODescriptor):
    """Body of `/geo_embedding`: JSON."""

    __root_input__ = True
    model_config = WITHOUT_EXAMPLES

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Any:
        """The typed request, or the error that answers it."""
        return await body.read(request, GeoEmbeddingRequest)


class GeoBento:
    """Pictures and places into vectors."""

    def __init__(self) -> None:
        self.engine = Engine(REGISTRY, SETTINGS)
        self.runners = {
            served.card.id: RunnerClient(
                getattr(self, runner_name(served.card.id)), served.card.max_batch_size
            )
            for served in REGISTRY.served()
        }
        self.decoding = anyio.CapacityLimiter(4)
        self.fetching = anyio.CapacityLimiter(4 * SETTINGS.fetch_threads)

    @bentoml.on_startup
    def open_source(self) -> None:
        """Open the preferred source before the first request (may write the demo archive).

        A source that is down stops no start: pictures need none, and it may come back.
        """
        try:
            self.engine.fetch.source("auto")
        except GeoBentoError as error:
            logger.error("imagery: %s", error.message)

    async def __is_ready__(self) -> bool:
        """Whether every runner has loaded its model and answered a warm-up forward."""
        ready = [await runner.is_ready() for runner in self.runners.values()]
        return all(ready)

    @bentoml.api(route="/image_embedding", input_spec=ImageBody, output_spec=EmbeddingResponse)
    async def image_embedding(self, request: ImageEmbeddingRequest | GeoBentoError) -> Response:
        """Pictures in, one vector per picture out."""
        if isinstance(request, GeoBentoError):
            return answers.problem(request)
        return await answers.answered(
            self._answer(self.engine.image_job, request, self.decoding), SETTINGS.request_timeout_s
        )

    @bentoml.api(route="/geo_embedding", input_spec=GeoBody, output_spec=EmbeddingResponse)
    async def geo_embedding(self, request: GeoEmbeddingRequest | GeoBentoError) -> Response:
        """A place and a time window in, a vector or a grid of vectors out."""
        if isinstance(request, GeoBentoError):
            return answers.problem(request)
        return await answers.answered(
            self._answer(self.engine.geo_job, request, self.fetching), SETTINGS.request_timeout_s
        )

    async def _answer(self, first_half: Any, request: Any, limiter: anyio.CapacityLimiter) -> bytes:
        # Abandoned when the deadline passes; its place in the limiter stays taken till it ends.
        job: Job = await anyio.to_thread.run_sync(
            first_half, request, limiter=limiter, abandon_on_cancel=True
        )
        results = await self.runners[job.model].encode(job.items)

        def second_half() -> bytes:
            return wire.encode_answer(job.model, job.dim, job.answers(results), request.encoding)

        return await anyio.to_thread.run_sync(second_half)


for entry in STORED:
    runner = make_runner(entry, device=DEVICE, timeout_s=SETTINGS.request_timeout_s + BEHIND_S)
    setattr(GeoBento, runner_name(entry.metadata["model"]), bentoml.depends(runner))

svc = bentoml.service(
    name="geobento",
    workers=1,
    traffic={"timeout": SETTINGS.request_timeout_s + 2 * BEHIND_S},
    runner_probe={"enabled": False},
)(GeoBento)
svc.add_asgi_middleware(
    guard.Guard,
    max_body_mb=SETTINGS.max_body_mb,
    max_in_flight=SETTINGS.max_requests_in_flight,
)
svc.mount_asgi_app(
    routes.app(
        models=REGISTRY.served,
        find=lambda name: REGISTRY.find(name).served,
        document=lambda: openapi.document(ABOUT, __version__),
    ),
    path="/",
    name="geobento",
)
