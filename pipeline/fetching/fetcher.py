"""The fetch layer: one per process, bounds how much is fetched at a time."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from threading import Lock
from typing import TypeAlias, TypeVar

from geobento.config.settings import Settings
from geobento.observability import metrics, request_context
from geobento.schemas.errors import GeoBentoError, InvalidRequest, Overloaded, SourceError
from geobento.schemas.sample import Sample
from imagery.cache.source import CachedSource, read_cached
from imagery.cache.store import PatchStore
from imagery.query import ImageQuery
from imagery.source import FetchEstimate, Source
from imagery.stac.catalogs.fingerprint import CatalogFingerprint
from pipeline.fetching.blocking_limiter import BlockingLimiter

logger = logging.getLogger("geobento.fetch")

SourceOpener = Callable[[], Source]
CacheLookup = Callable[[ImageQuery], Sample | None]
FetchRequest: TypeAlias = tuple[str, ImageQuery] | GeoBentoError
Result = TypeVar("Result")

BYTES_PER_VALUE = 4
"""Size of a value of a sample."""
RETRY_AFTER_S = 1
SOURCE_DOWN_S = 30.0
"""How long a source that could not be opened is taken to be down where what it gave is kept."""
SOURCE_TIMEOUT_SHARE = 0.9
"""Part of a request's time that a source may take, so that its own error is what is answered."""


@dataclass(frozen=True)
class FetchTarget:
    """What is fetched of a region, and how far that is.

    Attributes:
        position: Which of a request's regions it is.
        size_bytes: Bytes of its samples.
        futures: A sample or an error each, with the seconds that it took.
    """

    position: int
    size_bytes: int
    futures: Sequence[Future[tuple[Sample | GeoBentoError, float]]]


class ImageryFetcher:
    """Sources by their backend word, opened when first needed.

    Args:
        openers: How to open each source that is configured, the preferred one first.
        max_threads: Regions fetched at a time.
        cached: Of sources that are known without being opened: what they gave earlier.
        stale_if_error: Of others: what they gave when they could be opened last.
        max_pending_bytes: Bytes of fetched pixels that wait to be used, of all requests together.
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
        """The sources that the settings name; the demo archive is always there."""
        openers: dict[str, SourceOpener] = {}
        threads, most_bytes = settings.fetch_threads, settings.max_pending_mb * 2**20
        if settings.demo_only:
            demo = partial(_open_demo, settings)
            everywhere = dict.fromkeys(("demo", "gee", "stac"), demo)
            return cls(everywhere, threads, max_pending_bytes=most_bytes)
        if settings.ee_project is not None:
            openers["gee"] = lambda: _open_earth_engine(settings)
        if settings.stac is not None:
            openers["stac"] = lambda: _open_stac(settings)
        openers["demo"] = lambda: _open_demo(settings)
        return cls(
            openers, threads, _cached_lookups(settings), _stale_lookups(settings), most_bytes
        )

    def fetch_all(self, requests: Sequence[FetchRequest]) -> list[Sample | GeoBentoError]:
        """Samples or errors, in the order of the (backend, query) pairs.

        An error in place of a pair is its own answer.
        """
        return self._map_requests(requests, self._fetch_one)

    def map_regions(
        self,
        regions: Sequence[Sequence[tuple[str, ImageQuery]] | GeoBentoError],
        function: Callable[[int, list[Sample], float], Result],
    ) -> list[Result | GeoBentoError]:
        """What is made of the samples of every region, or its first error, in order.

        Regions are fetched side by side, as far ahead of their use as there is room for their
        pixels. A region for which there is none waits for those before it to be used, or, if there
        are none of this request, for other requests.

        Args:
            regions: The (backend, query) pairs of each; an error is its own answer.
            function: Gets the number of a region, its samples, and the longest time that one of them
                took, seconds. Has to keep none of them. Called one region after the other.

        Raises:
            Overloaded: Other requests left no room until the deadline.
        """
        answers: dict[int, Result | GeoBentoError] = {}
        ahead: deque[FetchTarget] = deque()
        alone = sum(len(asked) for asked in regions if not isinstance(asked, GeoBentoError)) == 1

        def use_first() -> None:
            position, size = ahead[0].position, ahead[0].size_bytes
            try:
                answers[position] = _finish_target(ahead.popleft(), function)
            finally:
                self._limiter.release(size)

        try:
            for position, asked in enumerate(regions):
                if isinstance(asked, GeoBentoError):
                    answers[position] = asked
                    continue
                size = sum(pixel_bytes(query) for _, query in asked)
                while not (entered := self._limiter.try_acquire(size)) and ahead:
                    use_first()
                if not entered:
                    self._acquire(size)
                # No other name for it, which would hold its samples while this waits for room.
                ahead.append(
                    FetchTarget(position, size, [self._submit(one, alone) for one in asked])
                )
            while ahead:
                use_first()
        finally:
            for region in ahead:
                for fetch in region.futures:
                    fetch.cancel()
                self._limiter.release(region.size_bytes)
        return [answers[position] for position in range(len(regions))]

    def estimate_all(self, requests: Sequence[FetchRequest]) -> list[FetchEstimate | GeoBentoError]:
        """What `fetch_all` would fetch, or errors, in the same order."""
        return self._map_requests(
            requests, lambda backend, query: self.source(backend).estimate(query)
        )

    def ensure_source(self, requests: Sequence[tuple[str, ImageQuery]]) -> None:
        """Open the source of a request, unless it is not needed: all its samples are kept.

        Raises:
            InvalidRequest: No such source is configured.
            SourceError: It cannot be opened.
        """
        for backend, query in requests:
            if not isinstance(self._source_or_cached(backend, query), Sample):
                return

    def source(self, backend: str) -> Source:
        """The source of a backend word; ``auto`` is the preferred one, even if it is down.

        Raises:
            InvalidRequest: No such source is configured.
            SourceError: It cannot be opened.
        """
        name = self._backend_name(backend)
        if name not in self._openers:
            raise InvalidRequest(
                f"backend {backend!r} is not configured here; "
                f"accepted: {', '.join(['auto', *self._openers])}",
                field="backend",
            )
        asked = time.monotonic()
        with self._locks[name]:
            if name not in self._sources:
                self._sources[name] = self._open_source(name, asked)
            return self._sources[name]

    def _backend_name(self, backend: str) -> str:
        return next(iter(self._openers)) if backend == "auto" else backend

    def _source_or_cached(self, backend: str, query: ImageQuery) -> Source | Sample:
        """The source, or, where it need not or cannot be opened, what it gave earlier."""
        earlier = self._find_cached(backend, query)
        if earlier is not None:
            return earlier
        try:
            return self.source(backend)
        except SourceError:
            earlier = self._find_cached(backend, query)  # now that it is known to be down
            if earlier is None:
                raise
            return earlier

    def _find_cached(self, backend: str, query: ImageQuery) -> Sample | None:
        """What a source that is not open gave earlier."""
        name = self._backend_name(backend)
        if name in self._sources:
            return None
        ways = [self._cached.get(name)]
        if name in self._failures and time.monotonic() - self._failures[name][0] < SOURCE_DOWN_S:
            ways.append(self._stale_if_error.get(name))
        found = (find(query) for find in ways if find is not None)
        return next((sample for sample in found if sample is not None), None)

    def _fetch_one(self, backend: str, query: ImageQuery) -> Sample:
        found = self._source_or_cached(backend, query)
        return found if isinstance(found, Sample) else found.fetch(query)

    def _open_source(self, name: str, requested_at: float) -> Source:
        """Open a source, unless that failed while this request waited for its turn to."""
        failed, error = self._failures.get(name, (0.0, None))
        if error is not None and failed > requested_at:
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
        """Enter the room before this request's deadline.

        Raises:
            Overloaded: There was none.
        """
        deadline = request_context.deadline()
        left = None if deadline is None else max(0.0, deadline - time.time())
        with request_context.stage("fetch"):
            if not self._limiter.acquire(size, left):
                raise Overloaded(
                    "the service holds as many pixels as it allows itself",
                    retry_after=RETRY_AFTER_S,
                )

    def _submit(
        self, request: tuple[str, ImageQuery], inline: bool
    ) -> Future[tuple[Sample | GeoBentoError, float]]:
        """Begin a fetch; one that is alone in its request is done by the request's own thread."""
        if not inline:
            return self._pool.submit(copy_context().run, self._timed_fetch, request)
        done: Future[tuple[Sample | GeoBentoError, float]] = Future()
        with request_context.stage("fetch"):
            done.set_result(self._timed_fetch(request))
        return done

    def _timed_fetch(self, request: tuple[str, ImageQuery]) -> tuple[Sample | GeoBentoError, float]:
        start = time.perf_counter()
        found = self._result_or_error(request, self._fetch_one)
        return found, time.perf_counter() - start

    def _map_requests(
        self, requests: Sequence[FetchRequest], operation: Callable[[str, ImageQuery], Result]
    ) -> list[Result | GeoBentoError]:
        if len(requests) == 1:
            return [self._result_or_error(requests[0], operation)]
        # Threads of a pool know nothing of the request; each gets a copy of what is known here.
        contexts = [copy_context() for _ in requests]
        return list(
            self._pool.map(
                lambda known, asked: known.run(self._result_or_error, asked, operation),
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
            logger.exception("asking for %s failed", query.sensor.collection)
            return SourceError(f"the source {backend!r} failed; the service log has more")


def pixel_bytes(query: ImageQuery) -> int:
    """Size of the pixels of a fetch. Pure."""
    height, width = query.grid.shape
    return query.frames * len(query.sensor.bands) * height * width * BYTES_PER_VALUE


def _finish_target(
    target: FetchTarget, function: Callable[[int, list[Sample], float], Result]
) -> Result | GeoBentoError:
    """What is made of a region, once it is there; nothing else holds its samples after."""
    with request_context.stage("fetch"):
        found = [fetch.result() for fetch in target.futures]
    samples: list[Sample] = []
    for sample, _ in found:
        if isinstance(sample, GeoBentoError):
            return sample
        samples.append(sample)
    return function(target.position, samples, max(seconds for _, seconds in found))


def _cached_lookups(settings: Settings) -> dict[str, CacheLookup]:
    """What sources gave earlier that are known without being opened."""
    if not settings.cache:
        return {}
    from imagery.stac.catalogs.factory import known_fingerprint

    identities: dict[str, tuple[str, ...] | None] = {}
    if settings.ee_project is not None:
        identities["gee"] = _earth_engine_identity(settings, settings.ee_project)
    if settings.stac is not None:
        identities["stac"] = known_fingerprint(settings.stac)
    store = PatchStore(settings.patches, settings.patches_bytes)
    return {
        backend: partial(read_cached, store, backend, identity)
        for backend, identity in identities.items()
        if identity is not None
    }


def _stale_lookups(settings: Settings) -> dict[str, CacheLookup]:
    """What sources gave earlier that were opened before."""
    if not settings.cache or settings.stac is None:
        return {}
    last = CatalogFingerprint(settings.patches, settings.stac)
    store = PatchStore(settings.patches, settings.patches_bytes)

    def find(query: ImageQuery) -> Sample | None:
        identity = last.read()
        return None if identity is None else read_cached(store, "stac", identity, query)

    return {"stac": find}


def _earth_engine_identity(settings: Settings, project: str) -> tuple[str, ...]:
    return project, settings.ee_url or ""


def _cached_source(source: Source, settings: Settings, *identity: str) -> Source:
    """A source of which equal requests share a fetch, and whose samples are kept."""
    return CachedSource(
        source,
        PatchStore(settings.patches, settings.patches_bytes) if settings.cache else None,
        *identity,
        ttl=timedelta(hours=settings.cache_ttl_hours),
        timeout_s=SOURCE_TIMEOUT_SHARE * settings.request_timeout_s,
    )


def _open_earth_engine(settings: Settings) -> Source:
    try:
        from imagery.earth_engine.client import EarthEngineClient
        from imagery.earth_engine.source import EarthEngineSource
    except ModuleNotFoundError as error:
        raise SourceError(
            "Earth Engine needs its client library; run `make gee` or `pip install 'geobento[gee]'`"
        ) from error
    from imagery.earth_engine.rate_limiter import ProcessSharedRateLimiter

    assert settings.ee_project is not None
    timeout_s = SOURCE_TIMEOUT_SHARE * settings.request_timeout_s
    limiter = ProcessSharedRateLimiter(
        settings.data_dir / "earth-engine" / settings.ee_project,
        settings.ee_max_concurrency,
        settings.ee_max_qps,
    )
    client = EarthEngineClient(
        settings.ee_project,
        url=settings.ee_url,
        key_file=settings.ee_key_file,
        limiter=limiter,
        timeout_s=timeout_s,
    )
    source = EarthEngineSource(client, timeout_s=timeout_s)
    return _cached_source(source, settings, *_earth_engine_identity(settings, settings.ee_project))


def _open_stac(settings: Settings) -> Source:
    from imagery.stac.catalogs.factory import open_catalog
    from imagery.stac.source import StacSource

    assert settings.stac is not None
    timeout_s = SOURCE_TIMEOUT_SHARE * settings.request_timeout_s
    key = settings.stac_key.get_secret_value() if settings.stac_key is not None else None
    catalog = open_catalog(
        settings.stac, extra_hosts=settings.stac_hosts, subscription_key=key, timeout_s=timeout_s
    )
    if settings.cache:
        CatalogFingerprint(settings.patches, settings.stac).write(catalog.fingerprint)
    return _cached_source(StacSource(catalog, timeout_s=timeout_s), settings, *catalog.fingerprint)


def _open_demo(settings: Settings) -> Source:
    from imagery.demo.archive import DEMO_NOTICE, ensure_demo_archive
    from imagery.stac.catalogs.static import StaticCatalog
    from imagery.stac.source import StacSource

    catalog = StaticCatalog(ensure_demo_archive(settings.demo_archive))
    source = StacSource(catalog, backend="demo", notice=DEMO_NOTICE)
    return _cached_source(source, settings, *catalog.fingerprint)
