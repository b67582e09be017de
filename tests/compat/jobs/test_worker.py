"""Working on jobs in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from compat.jobs import worker
from compat.jobs.base import Claim, Job, JobStore, JobStoreError
from compat.jobs.sqlite import SqliteJobStore
from compat.jobs.worker import FAILED_MESSAGE, JobWorker
from geobento.config.settings import Settings
from geobento.schemas.errors import InvalidImage, SettingsError
from tests.compat.conftest import MakeStore

pytestmark = pytest.mark.anyio

FAR = 600.0
"""A time that no test waits for."""


def sqlite(folder: Path) -> SqliteJobStore:
    """A store in a folder."""
    return SqliteJobStore(folder / "jobs.sqlite", 60, 100)


@asynccontextmanager
async def at_work(
    store: JobStore, work: Callable[[Job, bytes], Awaitable[bytes]], **options: Any
) -> AsyncIterator[JobWorker]:
    """Jobs between start and stop."""
    jobs = JobWorker(store, work, **{"poll_s": FAR, **options})
    await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.stop()


async def add(jobs: JobWorker, request: bytes = b"1") -> Job:
    """A new job."""
    return await jobs.add("image-embedding", "clip", False, request)


async def ended(jobs: JobWorker, job: Job) -> Job:
    """A job after it has ended."""
    async with asyncio.timeout(20):
        while (result := await jobs.store.get(job.id)).state in ("starting", "running"):
            await asyncio.sleep(0.01)
        return result


async def echo(job: Job, request: bytes) -> bytes:
    """The request as the result."""
    return request


async def test_a_new_job_is_begun_at_once(make_store: MakeStore) -> None:
    """No job waits for the next poll of the store, be it idle or full."""
    async with at_work(make_store(), echo, max_concurrency=2) as jobs:
        new = [await add(jobs, b"%d" % n) for n in range(10)]
        results = [(await ended(jobs, job)).result for job in new]
        assert results == [b"%d" % n for n in range(10)]


async def test_jobs_of_other_processes_are_found(make_store: MakeStore) -> None:
    """Polling finds what another process adds or leaves behind."""
    other = make_store()
    await other.open()
    async with at_work(make_store(), echo, poll_s=0.02) as jobs:
        assert (await ended(jobs, await other.add("t", "clip", False, b"7"))).result == b"7"
    await other.close()


async def test_concurrent_jobs_are_bounded(tmp_path: Path) -> None:
    """As many jobs run as the limit allows, and never more."""
    running, peak = 0, 0

    async def count(job: Job, request: bytes) -> bytes:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(0.02)
        running -= 1
        return b"1"

    async with at_work(sqlite(tmp_path), count, max_concurrency=3) as jobs:
        for job in [await add(jobs) for _ in range(9)]:
            await ended(jobs, job)
    assert peak == 3


async def test_why_a_job_failed(tmp_path: Path) -> None:
    """Errors for clients are reported, defects are not; other jobs go on."""

    async def fail(job: Job, request: bytes) -> bytes:
        if request == b"image":
            raise InvalidImage("this is not an image")
        raise RuntimeError("/secret/path")

    async with at_work(sqlite(tmp_path), fail) as jobs:
        for request, detail in ((b"image", "this is not an image"), (b"bug", FAILED_MESSAGE)):
            result = await ended(jobs, await add(jobs, request))
            assert (result.state, result.detail) == ("failed", detail)


async def test_work_begins_when_the_models_are_ready(tmp_path: Path) -> None:
    """Until then jobs are accepted and wait."""
    are_ready = False

    async def ready() -> bool:
        return are_ready

    async with at_work(sqlite(tmp_path), echo, is_ready=ready, poll_s=0.02) as jobs:
        job = await add(jobs)
        await asyncio.sleep(0.1)
        assert (await jobs.store.get(job.id)).state == "starting"
        are_ready = True
        assert (await ended(jobs, job)).state == "complete"


async def test_a_job_that_did_not_end_has_the_process_for_itself(tmp_path: Path) -> None:
    """It begins when the others are done, and others begin when it is done; none is lost."""
    store = sqlite(tmp_path)
    await store.open()
    suspects = [await store.add("t", "clip", False, b"suspect") for _ in range(2)]
    for _ in suspects:
        assert await store.claim(60) is not None
    await store.close()
    running: list[bytes] = []
    together: set[tuple[bytes, ...]] = set()

    async def note(job: Job, request: bytes) -> bytes:
        running.append(request)
        together.add(tuple(sorted(running)))
        await asyncio.sleep(0.02)
        running.remove(request)
        return request

    async with at_work(sqlite(tmp_path), note) as jobs:
        others = [await add(jobs, b"other") for _ in range(3)]
        for job in [*suspects, *others]:
            assert (await ended(jobs, job)).state == "complete"
    assert (b"suspect",) in together
    assert (b"other", b"other") in together
    assert all(result == (b"suspect",) for result in together if b"suspect" in result)


async def test_stopping_releases_jobs(make_store: MakeStore) -> None:
    """Running jobs are queued again at once, and the stop is not an attempt."""
    begun = asyncio.Event()

    async def hang(job: Job, request: bytes) -> bytes:
        begun.set()
        await asyncio.sleep(FAR)
        return b""

    job = None
    for _ in range(4):
        begun.clear()
        async with at_work(make_store(), hang) as jobs:
            job = job or await add(jobs)
            await begun.wait()
            assert (await jobs.store.get(job.id)).state == "running"
    async with at_work(make_store(), echo) as jobs:
        assert job is not None
        assert (await ended(jobs, job)).state == "complete"


async def test_long_work_keeps_its_lease(make_store: MakeStore) -> None:
    """A job that takes longer than a lease is done once, though another worker looks for it."""
    times = 0

    async def long(job: Job, request: bytes) -> bytes:
        nonlocal times
        times += 1
        await asyncio.sleep(1)
        return b"1"

    options = {"lease_s": 0.3, "poll_s": 0.02}
    async with at_work(make_store(), long, **options), at_work(make_store(), long, **options) as b:
        assert (await ended(b, await add(b))).state == "complete"
    assert times == 1


class Flaky(SqliteJobStore):
    """A store that is away for a while."""

    away = 0

    async def claim(self, lease_s: float) -> Claim | None:
        self.away -= 1
        if self.away >= 0:
            raise JobStoreError("away")
        return await super().claim(lease_s)


async def test_a_store_that_comes_back(tmp_path: Path) -> None:
    """The worker outlives a store that is away."""
    store = Flaky(tmp_path / "jobs.sqlite", 60, 100)
    store.away = 5
    async with at_work(store, echo, poll_s=0.01) as jobs:
        assert (await ended(jobs, await add(jobs))).state == "complete"
    assert store.away < 0


async def test_work_whose_lease_is_lost_is_left(tmp_path: Path) -> None:
    """When another worker has the job, this one cancels its own work on it."""
    left = asyncio.Event()

    async def hang(job: Job, request: bytes) -> bytes:
        try:
            await asyncio.sleep(FAR)
        finally:
            left.set()
        return b""

    class Losing(SqliteJobStore):
        async def renew(self, claim: Claim, lease_s: float) -> bool:
            return False

    store = Losing(tmp_path / "jobs.sqlite", 60, 100)
    async with at_work(store, hang, lease_s=0.06) as jobs:
        await add(jobs)
        async with asyncio.timeout(20):
            await left.wait()


async def test_where_the_settings_say(tmp_path: Path) -> None:
    """SQLite in the home folder unless a Redis server is named."""
    jobs = worker.make_worker(Settings(data_dir=tmp_path), echo)
    await jobs.start()
    assert (await ended(jobs, await add(jobs))).state == "complete"
    await jobs.stop()
    assert (tmp_path / "jobs.sqlite").exists()
    pytest.importorskip("redis")
    from compat.jobs.redis import RedisJobStore

    named = worker.make_worker(Settings(job_store="redis://localhost:1/0"), echo)
    assert isinstance(named.store, RedisJobStore)


@pytest.mark.parametrize("url", ["postgres://x", "redis://host:port/0", "/tmp/jobs.sqlite"])
async def test_addresses_that_cannot_be_used(url: str) -> None:
    """They stop the start, and the message names the variable."""
    pytest.importorskip("redis")
    with pytest.raises(SettingsError, match="GEOBENTO_JOB_STORE"):
        worker.make_worker(Settings(job_store=url), echo)
