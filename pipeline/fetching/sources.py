"""The image sources that the settings name, behind the cache of fetched pixels."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from geobento.config.settings import Settings
from geobento.schemas.errors import SourceError
from geobento.schemas.sample import Sample
from imagery.cache.source import CachedSource, read_cached
from imagery.cache.store import PatchStore
from imagery.query import ImageQuery
from imagery.source import Source
from imagery.stac.catalogs.fingerprint import CatalogFingerprint

SourceOpener = Callable[[], Source]
CacheLookup = Callable[[ImageQuery], Sample | None]

SOURCE_TIMEOUT_SHARE = 0.9
"""Share of a request's timeout that a source may use, so that its own error reaches the caller."""


def source_openers(settings: Settings) -> dict[str, SourceOpener]:
    """A function per backend that opens its source, the preferred backend first.

    The demo archive is always available.
    """
    if settings.demo_only:
        return dict.fromkeys(("demo", "gee", "stac"), partial(_open_demo, settings))
    openers: dict[str, SourceOpener] = {}
    if settings.ee_project is not None:
        openers["gee"] = partial(_open_earth_engine, settings)
    if settings.stac is not None:
        openers["stac"] = partial(_open_stac, settings)
    openers["demo"] = partial(_open_demo, settings)
    return openers


def cached_lookups(settings: Settings) -> dict[str, CacheLookup]:
    """Cache lookups of the sources whose identity is known without opening them."""
    if not settings.cache or settings.demo_only:
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


def stale_lookups(settings: Settings) -> dict[str, CacheLookup]:
    """Cache lookups of the sources that have been opened before, by their last identity."""
    if not settings.cache or settings.demo_only or settings.stac is None:
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
    """A source whose samples are cached, and where equal concurrent requests share one fetch."""
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
