"""A source behind the cache."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from geobento.schemas.errors import GeoBentoError, NoImageryError, SourceError
from geobento.schemas.sample import Sample
from imagery.cache.codec import CacheEntry
from imagery.cache.key import patch_key
from imagery.cache.source import FINALIZATION_DELAY, CachedSource, expiry_time
from imagery.cache.store import PatchStore
from imagery.query import ImageQuery
from imagery.source import Source
from tests.imagery.cache.test_codec import same
from tests.imagery.conftest import LONG_S, Waiters
from tests.imagery.patches import QUERY, Counting, sample_of

NOW = datetime.now(UTC)


def cached(
    source: Source, folder: Path | None, *identity: str, timeout_s: float = LONG_S
) -> CachedSource:
    store = None if folder is None else PatchStore(folder, 2**20)
    keep_open = timedelta(hours=24)
    return CachedSource(source, store, *identity, ttl=keep_open, timeout_s=timeout_s)


def test_a_patch_is_fetched_once(tmp_path: Path) -> None:
    """The next time it comes from disk, bit for bit, and says so; also after a restart."""
    source = Counting()
    fresh = cached(source, tmp_path).fetch(QUERY)
    again = cached(source, tmp_path).fetch(QUERY)
    assert source.fetches == 1
    assert (fresh.cached, again.cached) == (False, True)
    same(fresh, again)
    same(fresh, source.answer(QUERY))
    assert again == replace(fresh, cached=True, pixels=again.pixels, valid=again.valid)


def test_without_a_folder_every_fetch_is_one(tmp_path: Path) -> None:
    """And an answer says nothing of a cache."""
    source = Counting()
    without = cached(source, None)
    assert [without.fetch(QUERY).cached for _ in range(2)] == [None, None]
    assert source.fetches == 2


def test_sources_do_not_mix(tmp_path: Path) -> None:
    """Two catalogs, or one before and after a change, have patches of their own."""
    source = Counting()
    for identity in ("a", "b", "a"):
        cached(source, tmp_path, identity).fetch(QUERY)
    assert source.fetches == 2


@pytest.mark.parametrize("error", [NoImageryError("none"), SourceError("down"), ValueError("bad")])
def test_errors_are_not_cached(tmp_path: Path, error: Exception) -> None:
    """A scene may have been added, a source may be up again."""
    outcomes = [error, None]

    def answer(query: ImageQuery) -> Sample:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return sample_of(1)

    source = cached(Counting(answer), tmp_path)
    with pytest.raises(type(error)):
        source.fetch(QUERY)
    assert source.fetch(QUERY).cached is False


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (NOW - FINALIZATION_DELAY - timedelta(seconds=1), None),
        (NOW - FINALIZATION_DELAY, None),
        (NOW - FINALIZATION_DELAY + timedelta(seconds=1), NOW + timedelta(hours=24)),
        (NOW, NOW + timedelta(hours=24)),
        (datetime(9999, 12, 31, tzinfo=UTC), NOW + timedelta(hours=24)),
        (datetime(1, 1, 1, tzinfo=UTC), None),
    ],
)
def test_open_windows_expire(end: datetime, expected: datetime | None) -> None:
    """Scenes may be added to those that ended lately or will end; others stay as they are."""
    assert expiry_time(end, NOW, timedelta(hours=24)) == expected


@pytest.mark.parametrize(("age_h", "fetches"), [(23.9, 0), (24.1, 1)])
def test_an_open_window_is_fetched_again(tmp_path: Path, age_h: float, fetches: int) -> None:
    """After a day."""
    source = Counting()
    query = replace(QUERY, end=NOW)
    when = datetime.now(UTC) - timedelta(hours=age_h)
    entry = CacheEntry(sample_of(1), expiry_time(query.end, when, timedelta(hours=24)))
    PatchStore(tmp_path, 2**20).write(patch_key(query, "stac", ()), entry)
    cached(source, tmp_path).fetch(query)
    assert source.fetches == fetches


def test_estimates_are_not_cached(tmp_path: Path) -> None:
    """The source makes them."""
    with pytest.raises(SourceError, match="estimates are asked"):
        cached(Counting(), tmp_path).estimate(QUERY)


@pytest.mark.parametrize("keeps", [True, False])
def test_equal_queries_share_a_fetch(tmp_path: Path, keeps: bool, waiters: Waiters) -> None:
    """With or without a folder; other queries do not wait for it."""
    go = Event()

    def answer(query: ImageQuery) -> Sample:
        if query == QUERY:
            assert go.wait(LONG_S)
        return sample_of(1)

    counting = Counting(answer)
    source = cached(counting, tmp_path if keeps else None)
    with ThreadPoolExecutor(16) as pool:
        requests = [pool.submit(source.fetch, QUERY) for _ in range(16)]
        source.fetch(replace(QUERY, modality="other"))
        assert not any(each.done() for each in requests)
        waiters(15)
        go.set()
        samples = [each.result(LONG_S) for each in requests]
    assert counting.fetches == 2
    assert all(sample is samples[0] for sample in samples)


def test_a_timeout_names_the_source(tmp_path: Path) -> None:
    """By an error that can be answered; the fetch goes on."""
    begun, go = Event(), Event()

    def answer(query: ImageQuery) -> Sample:
        begun.set()
        assert go.wait(LONG_S)
        return sample_of(1)

    source = cached(Counting(answer), tmp_path, timeout_s=0.1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(source.fetch, QUERY)
        assert begun.wait(LONG_S)
        with pytest.raises(GeoBentoError, match="'stac' had not answered"):
            source.fetch(QUERY)
        go.set()
        assert first.result(LONG_S).cached is False
