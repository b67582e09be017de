"""Works on jobs in the background of a service.

A job that was begun before and did not end may have ended the service. It has the process for
itself when it is tried again, so that no other job is given up in its place.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from compat.jobs.base import Claim, Job, JobStore, JobStoreError
from compat.jobs.sqlite import SqliteJobStore
from geobento.config.settings import Settings
from geobento.schemas.errors import GeoBentoError, SettingsError

logger = logging.getLogger("geobento.jobs")

JobFunction = Callable[[Job, bytes], Awaitable[bytes]]

MAX_CONCURRENT_JOBS = 16
"""Jobs worked on at a time: enough to fill the batches of the models."""
LEASE_S = 30.0
POLL_INTERVAL_S = 1.0
"""Jobs of other processes, and leases that ended, are looked for so often."""
PURGE_INTERVAL_S = 60.0
FAILED_MESSAGE = "the service failed; its log has the cause"


async def _always_ready() -> bool:
    return True


class JobWorker:
    """Accepts jobs and works on them.

    Args:
        store: Where they are kept.
        run_job: The result of a job and its request, as JSON text; a GeoBentoError that it raises
            is the reason of a failed job.
        is_ready: Whether work can begin; asked until it can.
        max_concurrency: Most jobs worked on at a time.
        lease_s: How long a job stays with a process that no longer says anything.
        poll_s: Longest time until what other processes did to the store is noticed.
    """

    def __init__(
        self,
        store: JobStore,
        run_job: JobFunction,
        *,
        is_ready: Callable[[], Awaitable[bool]] = _always_ready,
        max_concurrency: int = MAX_CONCURRENT_JOBS,
        lease_s: float = LEASE_S,
        poll_s: float = POLL_INTERVAL_S,
    ) -> None:
        self.store = store
        self._run_job = run_job
        self._check_ready = is_ready
        self._max_concurrency = max_concurrency
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._wake = asyncio.Event()
        self._stopping = False
        self._was_ready = False
        self._next_purge = 0.0
        self._loop_task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._isolated_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the store and begin to work."""
        await self.store.open()
        self._loop_task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Give back what is being worked on, and close the store."""
        self._stopping = True
        self._wake.set()
        if self._loop_task is not None:
            await self._loop_task
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self.store.close()

    async def add(self, task: str, model: str, batched: bool, request: bytes) -> Job:
        """Accept a job; it is in the store when this returns.

        Raises:
            Overloaded: As many jobs wait as may wait.
        """
        job = await self.store.add(task, model, batched, request)
        self._wake.set()
        return job

    async def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                claim = await self._claim()
            except JobStoreError:  # which the store has logged
                claim = None
            except Exception:
                logger.exception("jobs cannot be claimed")
                claim = None
            if claim is None:
                await self._wait_for_change()
            else:
                self._start_job(claim)

    async def _claim(self) -> Claim | None:
        if len(self._running) >= self._max_concurrency or self._isolated_task in self._running:
            return None
        if not await self._is_ready():
            return None
        if time.monotonic() >= self._next_purge:
            self._next_purge = time.monotonic() + PURGE_INTERVAL_S
            await self.store.delete_expired()
        return await self.store.claim(self._lease_s)

    async def _is_ready(self) -> bool:
        self._was_ready = self._was_ready or await self._check_ready()
        return self._was_ready

    async def _wait_for_change(self) -> None:
        """Until something happens here, or may have happened elsewhere."""
        try:
            async with asyncio.timeout(self._poll_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _start_job(self, claim: Claim) -> None:
        others = list(self._running) if claim.attempt > 1 else []
        task = asyncio.create_task(self._work_under_lease(claim, others))
        self._running.add(task)
        task.add_done_callback(self._on_done)
        if claim.attempt > 1:
            self._isolated_task = task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the outcome of a job was not stored", exc_info=error)

    async def _work_under_lease(self, claim: Claim, others: Sequence[asyncio.Task[None]]) -> None:
        """Work on a job after some others, while its lease is renewed."""
        work = asyncio.create_task(self._finish(claim, others))
        try:
            while not work.done():
                await asyncio.wait([work], timeout=self._lease_s / 3)
                if not work.done() and not await self._renew(claim):
                    logger.warning("the lease of job %s has ended", claim.job.id)
                    return
            work.result()
        except asyncio.CancelledError:
            await _cancel(work)
            await self.store.release(claim)
            raise
        finally:
            await _cancel(work)

    async def _renew(self, claim: Claim) -> bool:
        try:
            return await self.store.renew(claim, self._lease_s)
        except JobStoreError:
            return True  # not known to be lost; `finish` has the last word

    async def _finish(self, claim: Claim, others: Sequence[asyncio.Task[None]]) -> None:
        if others:
            await asyncio.wait(others)
        try:
            result = await self._run_job(claim.job, claim.request)
        except GeoBentoError as error:
            await self.store.finish(claim, detail=error.message)
        except Exception:
            logger.exception("job %s failed", claim.job.id)
            await self.store.finish(claim, detail=FAILED_MESSAGE)
        else:
            await self.store.finish(claim, result=result)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def make_worker(
    settings: Settings,
    run_job: JobFunction,
    is_ready: Callable[[], Awaitable[bool]] = _always_ready,
) -> JobWorker:
    """Jobs, kept where the settings say.

    Raises:
        SettingsError: The job store cannot be used.
    """
    return JobWorker(make_job_store(settings), run_job, is_ready=is_ready)


def make_job_store(settings: Settings) -> JobStore:
    """Where the settings say that jobs are kept; nothing is opened yet.

    Raises:
        SettingsError: It cannot be used.
    """
    if settings.job_store is None:
        return SqliteJobStore(
            settings.data_dir / "jobs.sqlite", settings.job_ttl, settings.max_jobs
        )
    if not settings.job_store.startswith(("redis://", "rediss://")):
        raise SettingsError(
            "GEOBENTO_JOB_STORE: accepted: redis://HOST:PORT/DB, rediss://..., or empty"
        )
    try:
        from compat.jobs.redis import RedisJobStore
    except ImportError:
        raise SettingsError(
            "GEOBENTO_JOB_STORE: redis needs: pip install 'geobento[redis]'"
        ) from None
    try:
        return RedisJobStore(settings.job_store, settings.job_ttl, settings.max_jobs)
    except ValueError as error:
        raise SettingsError(f"GEOBENTO_JOB_STORE: {error}") from None
