"""Fetches the imagery of requests: one fetcher per process, with bounds on memory and threads."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TypeAlias, TypeVar

from geobento.config.settings import Settings
from geobento.observability import metrics, request_context
from geobento.schemas.errors import GeoBentoError, InvalidRequest, Overloaded, SourceError
from geobento.schemas.sample import Sample
from imagery.query import ImageQuery
from imagery.source import FetchEstimate, Source
from pipeline.fetching import sources
from pipeline.fetching.blocking_limiter import BlockingLimiter
from pipeline.fetching.sources import CacheLookup, SourceOpener

logger = logging.getLogger("geobento.fetch")

FetchRequest: TypeAlias = tuple[str, ImageQuery] | GeoBentoError
Result = TypeVar("Result")

BYTES_PER_VALUE = 4
"""Bytes of a value of a sample (float32)."""
RETRY_AFTER_S = 1
SOURCE_DOWN_S = 30.0
"""Seconds for which a source that failed to open is served from the cache alone."""


@dataclass(frozen=True)
class FetchTarget:
    """A region whose fetches have been submitted.

    Attributes:
        position: Index of the region in its request.
        size_bytes: Bytes of its samples.
        futures: Per sample: the sample or an error, and the seconds that the fetch took.
    """

    position: int
    size_bytes: int
    futures: Sequence[Future[tuple[Sample | GeoBentoError, float]]]


class ImageryFetcher:
    """Image sources by backend, each opened on first use.

    Args:
        openers: A function per configured backend that opens its source, the preferred one first.
        max_threads: Maximum number of concurrent fetches.
        cached: Cache lookups of backends whose identity is known without opening them.
        stale_if_error: Cache lookups that are used only while a backend cannot be opened.
        max_pending_bytes: Maximum bytes of fetched pixels that wait to be used, over all requests.
    """

    def __init__(
        self,
        openers: Mapping[str, SourceOpener],
        max_threads: int,
        cached: Mapping[str, CacheLookup] | None = None,
        stale_if_error: Mapping[str, CacheLookup] | None = None,
        max_pending_bytes: float = float("inf"),
    ) -> None:
        self._openers = dict(openers)
        self._max_threads = max_threads
        self._cached = dict(cached or {})
        self._stale_if_error = dict(stale_if_error or {})
        self._limiter = BlockingLimiter(
            max_pending_bytes, metrics.PENDING_BYTES.labels("pixels").set
        )
        self._sources: dict[str, Source] = {}
        self._locks = {name: Lock() for name in openers}
        self._failures: dict[str, tuple[float, SourceError]] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> ImageryFetcher:
        """A fetcher of the sources that the settings name."""
        return cls(
            sources.source_openers(settings),
            settings.fetch_threads,
            sources.cached_lookups(settings),
            sources.stale_lookups(settings),
            settings.max_pending_mb * 2**20,
        )

    def fetch_all(self, requests: Sequence[FetchRequest]) -> list[Sample | GeoBentoError]:
        """Fetch (backend, query) pairs.

        Args:
            requests: The pairs. An error in place of a pair is returned unchanged.

        Returns:
            A sample or an error per pair, in order.
        """
        return self._map_requests(requests, self._fetch_one)

    def map_regions(
        self,
        regions: Sequence[Sequence[tuple[str, ImageQuery]] | GeoBentoError],
        function: Callable[[int, list[Sample], float], Result],
    ) -> list[Result | GeoBentoError]:
        """Apply a function to the samples of every region.

        Regions are fetched concurrently, as far ahead of their use as the byte limit allows. A
        region that exceeds the limit waits until earlier regions of its request have been used,
        or, if there are none, for other requests.

        Args:
            regions: The (backend, query) pairs of each region. An error in place of a region is
                returned unchanged.
            function: Called once per region, in order, with the index of the region, its samples
                and the longest time of one of their fetches, seconds. Must not keep a reference to
                the samples.

        Returns:
            The result or the first error per region, in order.

        Raises:
            Overloaded: Other requests held the byte limit until the deadline.
        """
        results: dict[int, Result | GeoBentoError] = {}
        pending: deque[FetchTarget] = deque()
        pairs = sum(len(region) for region in regions if not isinstance(region, GeoBentoError))

        def use_first() -> None:
            position, size = pending[0].position, pending[0].size_bytes
            try:
                results[position] = _finish_target(pending.popleft(), function)
            finally:
                self._limiter.release(size)

        try:
            for position, region in enumerate(regions):
                if isinstance(region, GeoBentoError):
                    results[position] = region
                    continue
                size = sum(pixel_bytes(query) for _, query in region)
                while not (acquired := self._limiter.try_acquire(size)) and pending:
                    use_first()
                if not acquired:
                    self._acquire(size)
                # A local name would keep the samples alive while later regions wait for memory.
                pending.append(self._submit_region(position, size, region, inline=pairs == 1))
            while pending:
                use_first()
        finally:
            for target in pending:
                for future in target.futures:
                    future.cancel()
                self._limiter.release(target.size_bytes)
        return [results[position] for position in range(len(regions))]

    def estimate_all(self, requests: Sequence[FetchRequest]) -> list[FetchEstimate | GeoBentoError]:
        """Estimate what `fetch_all` would fetch.

        Returns:
            An estimate or an error per pair, in order.
        """
        return self._map_requests(
            requests, lambda backend, query: self.source(backend).estimate(query)
        )

    def ensure_source(self, requests: Sequence[tuple[str, ImageQuery]]) -> None:
        """Open the source of a request, unless all its samples are cached.

        Raises:
            InvalidRequest: The backend is not configured.
            SourceError: The source cannot be opened.
        """
        for backend, query in requests:
            if not isinstance(self._source_or_cached(backend, query), Sample):
                return

    def source(self, backend: str) -> Source:
        """The source of a backend; ``auto`` is the preferred one, even while it is down.

        Raises:
            InvalidRequest: The backend is not configured.
            SourceError: The source cannot be opened.
        """
        name = self._backend_name(backend)
        if name not in self._openers:
            raise InvalidRequest(
                f"backend {backend!r} is not configured here; "
                f"accepted: {', '.join(['auto', *self._openers])}",
                field="backend",
            )
        requested_at = time.monotonic()
        with self._locks[name]:
            if name not in self._sources:
                self._sources[name] = self._open_source(name, requested_at)
            return self._sources[name]

    def _backend_name(self, backend: str) -> str:
        return next(iter(self._openers)) if backend == "auto" else backend

    def _source_or_cached(self, backend: str, query: ImageQuery) -> Source | Sample:
        """The source, or the cached sample where the source is not needed or cannot be opened."""
        cached = self._find_cached(backend, query)
        if cached is not None:
            return cached
        try:
            return self.source(backend)
        except SourceError:
            cached = self._find_cached(backend, query)  # the source is now known to be down
            if cached is None:
                raise
            return cached

    def _find_cached(self, backend: str, query: ImageQuery) -> Sample | None:
        """The cached sample of a source that is not open."""
        name = self._backend_name(backend)
        if name in self._sources:
            return None
        lookups = [self._cached.get(name)]
        if name in self._failures and time.monotonic() - self._failures[name][0] < SOURCE_DOWN_S:
            lookups.append(self._stale_if_error.get(name))
        samples = (lookup(query) for lookup in lookups if lookup is not None)
        return next((sample for sample in samples if sample is not None), None)

    def _fetch_one(self, backend: str, query: ImageQuery) -> Sample:
        source = self._source_or_cached(backend, query)
        return source if isinstance(source, Sample) else source.fetch(query)

    def _open_source(self, name: str, requested_at: float) -> Source:
        """Open a source, unless that failed while this request waited for the lock."""
        failed_at, error = self._failures.get(name, (0.0, None))
        if error is not None and failed_at > requested_at:
            raise error
        try:
            return self._openers[name]()
        except SourceError as error:
            self._failures[name] = time.monotonic(), error
            raise

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._max_threads, thread_name_prefix="fetch")

    def _acquire(self, size: int) -> None:
        """Acquire bytes of the limiter before the deadline of the request.

        Raises:
            Overloaded: The deadline has passed.
        """
        deadline = request_context.deadline()
        timeout_s = None if deadline is None else max(0.0, deadline - time.time())
        with request_context.stage("fetch"):
            if not self._limiter.acquire(size, timeout_s):
                raise Overloaded(
                    "the pixels of other requests fill the memory of the service",
                    retry_after=RETRY_AFTER_S,
                )

    def _submit_region(
        self, position: int, size: int, region: Sequence[tuple[str, ImageQuery]], inline: bool
    ) -> FetchTarget:
        return FetchTarget(position, size, [self._submit(pair, inline) for pair in region])

    def _submit(
        self, request: tuple[str, ImageQuery], inline: bool
    ) -> Future[tuple[Sample | GeoBentoError, float]]:
        """Start a fetch; with `inline`, run it in the calling thread."""
        if not inline:
            return self._pool.submit(copy_context().run, self._timed_fetch, request)
        future: Future[tuple[Sample | GeoBentoError, float]] = Future()
        with request_context.stage("fetch"):
            future.set_result(self._timed_fetch(request))
        return future

    def _timed_fetch(self, request: tuple[str, ImageQuery]) -> tuple[Sample | GeoBentoError, float]:
        start = time.perf_counter()
        sample = self._result_or_error(request, self._fetch_one)
        return sample, time.perf_counter() - start

    def _map_requests(
        self, requests: Sequence[FetchRequest], operation: Callable[[str, ImageQuery], Result]
    ) -> list[Result | GeoBentoError]:
        if len(requests) == 1:
            return [self._result_or_error(requests[0], operation)]
        # Pool threads have no request context of their own; each task runs in a copy of this one.
        contexts = [copy_context() for _ in requests]
        return list(
            self._pool.map(
                lambda context, request: context.run(self._result_or_error, request, operation),
                contexts,
                requests,
            )
        )

    def _result_or_error(
        self, request: FetchRequest, operation: Callable[[str, ImageQuery], Result]
    ) -> Result | GeoBentoError:
        if isinstance(request, GeoBentoError):
            return request
        backend, query = request
        try:
            return operation(backend, query)
        except GeoBentoError as error:
            return error
        except Exception:
            logger.exception("request to %s for %s failed", backend, query.sensor.collection)
            return SourceError(f"the source {backend!r} failed; the service log has more")


def pixel_bytes(query: ImageQuery) -> int:
    """Bytes of the pixels that a query fetches."""
    height, width = query.grid.shape
    return query.frames * len(query.sensor.bands) * height * width * BYTES_PER_VALUE


def _finish_target(
    target: FetchTarget, function: Callable[[int, list[Sample], float], Result]
) -> Result | GeoBentoError:
    """Apply the function to a fetched region; no reference to its samples is left."""
    with request_context.stage("fetch"):
        results = [future.result() for future in target.futures]
    samples: list[Sample] = []
    for sample, _ in results:
        if isinstance(sample, GeoBentoError):
            return sample
        samples.append(sample)
    return function(target.position, samples, max(seconds for _, seconds in results))
