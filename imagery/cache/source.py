"""A source that asks another one once for the same pixels."""

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
"""How long after its end a window may still gain scenes. Most come within days; final Landsat
products take up to four weeks."""


class CachedSource:
    """Another source's samples, kept on disk.

    Queries that are equal share one fetch while it is under way: the others wait for its sample
    or error. Samples are shared too, and not to be written to. Errors are not kept.

    Args:
        source: The other one.
        store: Where samples are kept; None: nowhere.
        fingerprint: What tells the source from others of its kind: project, address, contents.
        ttl: How long samples are kept whose window may still gain scenes.
        timeout_s: Longest time to wait for a fetch that is under way.
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
        """The word of the public ``backend`` parameter."""
        return self._source.backend

    def fetch(self, query: ImageQuery) -> Sample:
        """What the other source gives, see `imagery.source.Source`; `cached` says from where."""
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
        """What the other source says, see `imagery.source.Source`."""
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
                    asked = datetime.now(UTC)
                    sample = self._source.fetch(query)
                    store.write(key, CacheEntry(sample, expiry_time(query.end, asked, self._ttl)))
                    return replace(sample, cached=False)
        return replace(entry.sample, cached=True)


def read_cached(
    store: PatchStore, backend: str, fingerprint: Sequence[str], query: ImageQuery
) -> Sample | None:
    """The sample that a source gave earlier, whether or not it can be asked now.

    Args:
        store: Where samples are kept.
        backend: Word of the source.
        fingerprint: What tells it from others of its kind, see `CachedSource`.
        query: What is fetched.
    """
    entry = store.read(patch_key(query, backend, fingerprint))
    return None if entry is None else replace(entry.sample, cached=True)


def expiry_time(window_end: datetime, fetched_at: datetime, ttl: timedelta) -> datetime | None:
    """Until when an answer holds; None: for good. Pure.

    Args:
        window_end: First instant outside the window.
        fetched_at: When the source was asked.
        ttl: How long it holds if the window may still gain scenes.
    """
    return fetched_at + ttl if fetched_at - FINALIZATION_DELAY < window_end else None
