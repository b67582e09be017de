"""Runs requests in an event loop: blocking stages in threads, forward passes at the encoders."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

import anyio
import anyio.to_thread

from geobento.observability import metrics, request_context
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
from inference.types import EncodeItem, EncodeResult
from pipeline import inspection
from pipeline.engine import Engine
from pipeline.inputs import images as inputs_images
from pipeline.model_registry import ModelRegistry
from pipeline.offload import offload
from pipeline.prepared_requests import ItemResult, PreparedRequest

Request = TypeVar("Request")
Result = TypeVar("Result")

DECODING_THREADS = 4


class Encoder(Protocol):
    """Runs the forward passes of one model."""

    async def encode(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        """One result per item, in order."""


class AsyncEngine:
    """Answers requests of any number of callers at a time.

    Args:
        engine: Prepares requests.
        encoders: By model id.
        max_fetches: Requests that may wait for imagery or for images by URL at a time.
    """

    def __init__(self, engine: Engine, encoders: Mapping[str, Encoder], max_fetches: int) -> None:
        self.engine = engine
        self._encoders = encoders
        self._decode_limiter = anyio.CapacityLimiter(DECODING_THREADS)
        self._fetch_limiter = anyio.CapacityLimiter(max_fetches)
        self._model_names = {served.tag: served.name for served in engine.registry.served()}

    @property
    def registry(self) -> ModelRegistry:
        """What is served."""
        return self.engine.registry

    async def image_embedding(
        self, request: ImageEmbeddingRequest
    ) -> list[Embedding | GeoBentoError]:
        """One answer per image, in order.

        Raises:
            GeoBentoError: The request as a whole, or its only image, failed.
        """
        return await self._run(
            self.engine.prepare_images, request, self._limiter_for(request.images)
        )

    async def text_embedding(
        self, request: TextEmbeddingRequest
    ) -> list[Embedding | GeoBentoError]:
        """One answer per text, in order.

        Raises:
            GeoBentoError: The request as a whole, or its only text, failed.
        """
        return await self._run(self.engine.prepare_texts, request, self._decode_limiter)

    async def zero_shot_classification(
        self, request: ZeroShotRequest
    ) -> list[Classification | GeoBentoError]:
        """One answer per image, in order.

        Raises:
            GeoBentoError: The request as a whole, or its only image, failed.
        """
        limiter = self._limiter_for(request.images)
        return await self._run(self.engine.prepare_zero_shot, request, limiter)

    async def geo_embedding(self, request: GeoEmbeddingRequest) -> list[Embedding | GeoBentoError]:
        """One answer per region, in order.

        Raises:
            GeoBentoError: The request as a whole, or its only region, failed.
        """
        return await self._run(self.engine.prepare_regions, request, self._fetch_limiter)

    async def pixel_embedding(
        self, request: PixelEmbeddingRequest
    ) -> list[Embedding | GeoBentoError]:
        """The answer for the pixels that came with a request.

        Raises:
            GeoBentoError: The request failed.
        """
        return await self._run(self.engine.prepare_pixels, request, self._decode_limiter)

    async def plan_embedding(self, request: GeoEmbeddingRequest) -> EmbeddingPlan:
        """What a request of `geo_embedding` would do.

        Raises:
            GeoBentoError: The request as a whole, or its only region, would fail.
        """
        return await self._run_in_thread(partial(inspection.plan_embedding, self.engine), request)

    async def inspect_patch(self, request: InspectRequest) -> Inspection:
        """What the pixels of a region are like.

        Raises:
            GeoBentoError: They cannot be had.
        """
        return await self._run_in_thread(partial(inspection.inspect_patch, self.engine), request)

    def _limiter_for(self, images: Sequence[str | bytes]) -> anyio.CapacityLimiter:
        return (
            self._fetch_limiter if any(map(inputs_images.is_url, images)) else self._decode_limiter
        )

    async def _run(
        self,
        prepare: Callable[[Request], PreparedRequest[ItemResult]],
        request: Request,
        limiter: anyio.CapacityLimiter,
    ) -> list[ItemResult | GeoBentoError]:
        job = await self._run_in_thread(partial(_prepare_timed, prepare), request, limiter)
        name = self._model_names[job.tag]
        if (current := request_context.current_request()) is not None:
            current.model = name
        start = time.perf_counter()
        results = await self._encoders[job.tag].encode(job.items)
        seconds = time.perf_counter() - start
        forward_s = min(seconds, max((result.forward_s for result in results), default=0.0))
        request_context.record_stage("queue", seconds - forward_s)
        request_context.record_stage("forward", forward_s)
        data = [result.data for result in results]
        answers = await offload(data, job.assemble, results, seconds * 1000)
        _count_results(name, answers)
        return answers

    async def _run_in_thread(
        self,
        function: Callable[[Request], Result],
        request: Request,
        limiter: anyio.CapacityLimiter | None = None,
    ) -> Result:
        # Abandoned at the deadline; the thread keeps its limiter token until it ends.
        return await anyio.to_thread.run_sync(
            function, request, limiter=limiter or self._fetch_limiter, abandon_on_cancel=True
        )


def _prepare_timed(prepare: Callable[[Request], Result], request: Request) -> Result:
    """Prepare a request; time that is not fetching counts as preparation."""
    current = request_context.current_request()
    start = time.perf_counter()
    try:
        return prepare(request)
    finally:
        fetched = 0.0 if current is None else current.stage_seconds.get("fetch", 0.0)
        request_context.record_stage("prepare", time.perf_counter() - start - fetched)


def _count_results(name: str, results: Sequence[object]) -> None:
    failed = [answer for answer in results if isinstance(answer, GeoBentoError)]
    for error in failed:
        metrics.ERRORS.labels(error.type).inc()
    metrics.ITEMS.labels(name, "error").inc(len(failed))
    metrics.ITEMS.labels(name, "ok").inc(len(results) - len(failed))
