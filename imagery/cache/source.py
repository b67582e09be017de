"""A caching wrapper around a source."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from geobento.schemas.errors import SourceError
from geobento.schemas.sample import Sample
from imagery.cache.codec import CacheEntry
from imagery.cache.key import patch_key
from imagery.cache.single_flight import SingleFlight, WaitTimeout
from imagery.cache.store import PatchStore
from imagery.query import ImageQuery
from imagery.source import FetchEstimate, Source

FINALIZATION_DELAY = timedelta(days=30)
"""Time after the end of a window in which it may still gain scenes. Most arrive within days; final
Landsat products take up to four weeks."""


class CachedSource:
    """A source with a disk cache.

    Concurrent equal queries share one fetch and its sample or error. Callers must not modify the
    sample. Errors are not cached.

    Args:
        source: The wrapped source.
        store: Disk cache; None disables caching, not the sharing of concurrent fetches.
        fingerprint: Identifies the source among those of its backend: project, address, contents.
        ttl: Lifetime of samples whose window may still gain scenes.
        timeout_s: Longest wait for a fetch of another thread or process.
    """

    def __init__(
        self,
        source: Source,
        store: PatchStore | None,
        *fingerprint: str,
        ttl: timedelta,
        timeout_s: float,
    ) -> None:
        self._source = source
        self._store = store
        self._fingerprint = fingerprint
        self._ttl = ttl
        self._timeout_s = timeout_s
        self._single_flight = SingleFlight[Sample]()

    @property
    def backend(self) -> str:
        """Value of the public ``backend`` parameter that selects this source."""
        return self._source.backend

    def fetch(self, query: ImageQuery) -> Sample:
        """A cached or new sample, see `imagery.source.Source`; its field `cached` says which."""
        deadline = time.monotonic() + self._timeout_s
        key = patch_key(query, self.backend, self._fingerprint)
        try:
            return self._single_flight.run(
                key, partial(self._fetch, query, key, deadline), deadline
            )
        except WaitTimeout:
            raise SourceError(
                f"the source {self.backend!r} had not answered an earlier request for the same "
                f"pixels after {self._timeout_s:g} s"
            ) from None

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        """The estimate of the wrapped source, see `imagery.source.Source`."""
        return self._source.estimate(query)

    def _fetch(self, query: ImageQuery, key: str, deadline: float) -> Sample:
        store = self._store
        if store is None:
            return self._source.fetch(query)
        entry = store.read(key)
        if entry is None:
            with store.lock(key, deadline):
                entry = store.read(key)  # another process may have fetched it meanwhile
                if entry is None:
                    fetched_at = datetime.now(UTC)
                    sample = self._source.fetch(query)
                    store.write(
                        key, CacheEntry(sample, expiry_time(query.end, fetched_at, self._ttl))
                    )
                    return replace(sample, cached=False)
        return replace(entry.sample, cached=True)


def read_cached(
    store: PatchStore, backend: str, fingerprint: Sequence[str], query: ImageQuery
) -> Sample | None:
    """The cached sample of a query, also while its source is unavailable; None if there is none.

    Args:
        store: Disk cache.
        backend: Backend of the source.
        fingerprint: Identifies the source among those of its backend, see `CachedSource`.
        query: The query.
    """
    entry = store.read(patch_key(query, backend, fingerprint))
    return None if entry is None else replace(entry.sample, cached=True)


def expiry_time(window_end: datetime, fetched_at: datetime, ttl: timedelta) -> datetime | None:
    """Time of expiry of a sample; None if it never expires. Pure.

    Args:
        window_end: End of the time window, exclusive.
        fetched_at: Time of the fetch.
        ttl: Lifetime of samples whose window may still gain scenes.
    """
    return fetched_at + ttl if fetched_at - FINALIZATION_DELAY < window_end else None
