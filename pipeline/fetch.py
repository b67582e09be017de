"""The fetch layer: one per process, bounds how much is fetched at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta
from functools import cached_property, partial
from threading import Lock
from typing import TypeAlias, TypeVar

from geobento.errors import GeoBentoError, InvalidRequest, SourceError
from geobento.sample import Sample
from geobento.settings import Settings
from imagery.patch_cache import CachedSource, kept
from imagery.patch_store import PatchStore
from imagery.source import ImageQuery, Source, Survey

logger = logging.getLogger("geobento.fetch")

Opener = Callable[[], Source]
Kept = Callable[[ImageQuery], Sample | None]
Asked: TypeAlias = tuple[str, ImageQuery] | GeoBentoError
Found = TypeVar("Found")

SOURCE_SHARE = 0.9
"""Part of a request's time that a source may take, so that its own error is what is answered."""


class FetchLayer:
    """Sources by their backend word, opened when first needed.

    Args:
        openers: How to open each source that is configured, the preferred one first.
        threads: Places fetched at a time.
        kept: Of sources that are known without being opened: what they gave earlier.
    """

    def __init__(
        self, openers: Mapping[str, Opener], threads: int, kept: Mapping[str, Kept] | None = None
    ) -> None:
        self._openers = dict(openers)
        self._threads = threads
        self._kept = dict(kept or {})
        self._sources: dict[str, Source] = {}
        self._locks = {name: Lock() for name in openers}
        self._failures: dict[str, tuple[float, SourceError]] = {}

    @classmethod
    def configured(cls, settings: Settings) -> FetchLayer:
        """The sources that the settings name; the demo archive is always there."""
        openers: dict[str, Opener] = {}
        if settings.demo_only:
            demo = partial(_open_demo, settings)
            return cls(dict.fromkeys(("demo", "gee", "stac"), demo), settings.fetch_threads)
        if settings.ee_project is not None:
            openers["gee"] = lambda: _open_earth_engine(settings)
        if settings.stac is not None:
            openers["stac"] = lambda: _open_stac(settings)
        openers["demo"] = lambda: _open_demo(settings)
        return cls(openers, settings.fetch_threads, _kept(settings))

    def fetch_all(self, queries: Sequence[Asked]) -> list[Sample | GeoBentoError]:
        """Samples or errors, in the order of the (backend, query) pairs.

        An error in place of a pair is its own answer.
        """
        return self._each(queries, self._fetch)

    def survey_all(self, queries: Sequence[Asked]) -> list[Survey | GeoBentoError]:
        """What `fetch_all` would fetch, or errors, in the same order."""
        return self._each(queries, lambda backend, query: self.source(backend).survey(query))

    def open_for(self, queries: Sequence[tuple[str, ImageQuery]]) -> None:
        """Open the source of a request, unless it is not needed: all its samples are kept.

        Raises:
            InvalidRequest: No such source is configured.
            SourceError: It cannot be opened.
        """
        for backend, query in queries:
            if self._earlier(backend, query) is None:
                self.source(backend)
                return

    def source(self, backend: str) -> Source:
        """The source of a backend word; ``auto`` is the preferred one, even if it is down.

        Raises:
            InvalidRequest: No such source is configured.
            SourceError: It cannot be opened.
        """
        name = self._name(backend)
        if name not in self._openers:
            raise InvalidRequest(
                f"backend {backend!r} is not configured here; "
                f"accepted: {', '.join(['auto', *self._openers])}",
                field="backend",
            )
        asked = time.monotonic()
        with self._locks[name]:
            if name not in self._sources:
                self._sources[name] = self._open(name, asked)
            return self._sources[name]

    def _name(self, backend: str) -> str:
        return next(iter(self._openers)) if backend == "auto" else backend

    def _earlier(self, backend: str, query: ImageQuery) -> Sample | None:
        """What a source that is not open gave earlier."""
        name = self._name(backend)
        find = self._kept.get(name)
        return None if find is None or name in self._sources else find(query)

    def _fetch(self, backend: str, query: ImageQuery) -> Sample:
        earlier = self._earlier(backend, query)
        return self.source(backend).fetch(query) if earlier is None else earlier

    def _open(self, name: str, asked: float) -> Source:
        """Open a source, unless that failed while this request waited for its turn to."""
        failed, error = self._failures.get(name, (0.0, None))
        if error is not None and failed > asked:
            raise error
        try:
            return self._openers[name]()
        except SourceError as error:
            self._failures[name] = time.monotonic(), error
            raise

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._threads, thread_name_prefix="fetch")

    def _each(
        self, queries: Sequence[Asked], ask: Callable[[str, ImageQuery], Found]
    ) -> list[Found | GeoBentoError]:
        if len(queries) == 1:
            return [self._one(queries[0], ask)]
        # Threads of a pool know nothing of the request; each gets a copy of what is known here.
        contexts = [copy_context() for _ in queries]
        return list(
            self._pool.map(lambda known, asked: known.run(self._one, asked, ask), contexts, queries)
        )

    def _one(self, asked: Asked, ask: Callable[[str, ImageQuery], Found]) -> Found | GeoBentoError:
        if isinstance(asked, GeoBentoError):
            return asked
        backend, query = asked
        try:
            return ask(backend, query)
        except GeoBentoError as error:
            return error
        except Exception:
            logger.exception("asking for %s failed", query.sensor.collection)
            return SourceError(f"the source {backend!r} failed; the service log has more")


def _kept(settings: Settings) -> dict[str, Kept]:
    """What sources gave earlier that are known without being opened."""
    if not settings.cache:
        return {}
    from imagery.open_catalog import known_identity

    identities: dict[str, tuple[str, ...] | None] = {}
    if settings.ee_project is not None:
        identities["gee"] = _ee_identity(settings, settings.ee_project)
    if settings.stac is not None:
        identities["stac"] = known_identity(settings.stac)
    store = PatchStore(settings.patches, settings.patches_bytes)
    return {
        backend: partial(kept, store, backend, identity)
        for backend, identity in identities.items()
        if identity is not None
    }


def _ee_identity(settings: Settings, project: str) -> tuple[str, ...]:
    return project, settings.ee_url or ""


def _shared(source: Source, settings: Settings, *identity: str) -> Source:
    """A source of which equal requests share a fetch, and whose samples are kept."""
    return CachedSource(
        source,
        PatchStore(settings.patches, settings.patches_bytes) if settings.cache else None,
        *identity,
        keep_open=timedelta(hours=settings.cache_open_hours),
        timeout_s=SOURCE_SHARE * settings.request_timeout_s,
    )


def _open_earth_engine(settings: Settings) -> Source:
    try:
        from imagery.earth_engine import EarthEngineSource
        from imagery.ee_client import EarthEngineClient
    except ModuleNotFoundError as error:
        raise SourceError(
            "Earth Engine needs its client library; run `make gee` or `pip install 'geobento[gee]'`"
        ) from error
    from imagery.limits import ProjectLimiter

    assert settings.ee_project is not None
    timeout_s = SOURCE_SHARE * settings.request_timeout_s
    limiter = ProjectLimiter(
        settings.home / "earth-engine" / settings.ee_project,
        settings.ee_max_in_flight,
        settings.ee_max_per_second,
    )
    client = EarthEngineClient(
        settings.ee_project,
        url=settings.ee_url,
        key_file=settings.ee_key_file,
        limiter=limiter,
        timeout_s=timeout_s,
    )
    source = EarthEngineSource(client, timeout_s=timeout_s)
    return _shared(source, settings, *_ee_identity(settings, settings.ee_project))


def _open_stac(settings: Settings) -> Source:
    from imagery.open_catalog import open_catalog
    from imagery.stac import StacSource

    assert settings.stac is not None
    timeout_s = SOURCE_SHARE * settings.request_timeout_s
    key = settings.stac_key.get_secret_value() if settings.stac_key is not None else None
    catalog = open_catalog(settings.stac, hosts=settings.stac_hosts, key=key, timeout_s=timeout_s)
    return _shared(StacSource(catalog, timeout_s=timeout_s), settings, *catalog.identity)


def _open_demo(settings: Settings) -> Source:
    from imagery.demo import DEMO_NOTICE, ensure_demo_archive
    from imagery.stac import StacSource
    from imagery.static_catalog import StaticCatalog

    catalog = StaticCatalog(ensure_demo_archive(settings.demo_archive))
    source = StacSource(catalog, backend="demo", notice=DEMO_NOTICE)
    return _shared(source, settings, *catalog.identity)
