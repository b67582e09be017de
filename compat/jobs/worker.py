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
from compat.jobs.sqlite import SqliteJobs
from geobento.config.settings import Settings
from geobento.schemas.errors import GeoBentoError, SettingsError

logger = logging.getLogger("geobento.jobs")

Work = Callable[[Job, bytes], Awaitable[bytes]]

AT_A_TIME = 16
"""Jobs worked on at a time: enough to fill the batches of the models."""
LEASE_S = 30.0
POLL_S = 1.0
"""Jobs of other processes, and leases that ended, are looked for so often."""
PURGE_S = 60.0
FAILED = "the service failed; its log has the cause"


async def _always() -> bool:
    return True


class Jobs:
    """Accepts jobs and works on them.

    Args:
        store: Where they are kept.
        work: The result of a job and its request, as JSON text; a GeoBentoError that it raises
            is the reason of a failed job.
        ready: Whether work can begin; asked until it can.
        at_a_time: Most jobs worked on at a time.
        lease_s: How long a job stays with a process that no longer says anything.
        poll_s: Longest time until what other processes did to the store is noticed.
    """

    def __init__(
        self,
        store: JobStore,
        work: Work,
        *,
        ready: Callable[[], Awaitable[bool]] = _always,
        at_a_time: int = AT_A_TIME,
        lease_s: float = LEASE_S,
        poll_s: float = POLL_S,
    ) -> None:
        self.store = store
        self._work = work
        self._ready = ready
        self._at_a_time = at_a_time
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._wake = asyncio.Event()
        self._stopping = False
        self._was_ready = False
        self._next_purge = 0.0
        self._loop: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._alone: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the store and begin to work."""
        await self.store.open()
        self._loop = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Give back what is being worked on, and close the store."""
        self._stopping = True
        self._wake.set()
        if self._loop is not None:
            await self._loop
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
                await self._pause()
            else:
                self._begin(claim)

    async def _claim(self) -> Claim | None:
        if len(self._running) >= self._at_a_time or self._alone in self._running:
            return None
        if not await self._is_ready():
            return None
        if time.monotonic() >= self._next_purge:
            self._next_purge = time.monotonic() + PURGE_S
            await self.store.purge()
        return await self.store.claim(self._lease_s)

    async def _is_ready(self) -> bool:
        self._was_ready = self._was_ready or await self._ready()
        return self._was_ready

    async def _pause(self) -> None:
        """Until something happens here, or may have happened elsewhere."""
        try:
            async with asyncio.timeout(self._poll_s):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _begin(self, claim: Claim) -> None:
        others = list(self._running) if claim.attempt > 1 else []
        task = asyncio.create_task(self._hold(claim, others))
        self._running.add(task)
        task.add_done_callback(self._done)
        if claim.attempt > 1:
            self._alone = task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the outcome of a job was not stored", exc_info=error)

    async def _hold(self, claim: Claim, others: Sequence[asyncio.Task[None]]) -> None:
        """Work on a job after some others, while its lease is renewed."""
        work = asyncio.create_task(self._finish(claim, others))
        try:
            while not work.done():
                await asyncio.wait([work], timeout=self._lease_s / 3)
                if not work.done() and not await self._renewed(claim):
                    logger.warning("the lease of job %s has ended", claim.job.id)
                    return
            work.result()
        except asyncio.CancelledError:
            await _cancelled(work)
            await self.store.give_back(claim)
            raise
        finally:
            await _cancelled(work)

    async def _renewed(self, claim: Claim) -> bool:
        try:
            return await self.store.renew(claim, self._lease_s)
        except JobStoreError:
            return True  # not known to be lost; `finish` has the last word

    async def _finish(self, claim: Claim, others: Sequence[asyncio.Task[None]]) -> None:
        if others:
            await asyncio.wait(others)
        try:
            result = await self._work(claim.job, claim.request)
        except GeoBentoError as error:
            await self.store.finish(claim, detail=error.message)
        except Exception:
            logger.exception("job %s failed", claim.job.id)
            await self.store.finish(claim, detail=FAILED)
        else:
            await self.store.finish(claim, result=result)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])


def configured(
    settings: Settings, work: Work, ready: Callable[[], Awaitable[bool]] = _always
) -> Jobs:
    """Jobs, kept where the settings say.

    Raises:
        SettingsError: The job store cannot be used.
    """
    return Jobs(store(settings), work, ready=ready)


def store(settings: Settings) -> JobStore:
    """Where the settings say that jobs are kept; nothing is opened yet.

    Raises:
        SettingsError: It cannot be used.
    """
    if settings.job_store is None:
        return SqliteJobs(settings.home / "jobs.sqlite", settings.job_ttl, settings.max_jobs)
    if not settings.job_store.startswith(("redis://", "rediss://")):
        raise SettingsError(
            "GEOBENTO_JOB_STORE: accepted: redis://HOST:PORT/DB, rediss://..., or empty"
        )
    try:
        from compat.jobs.redis import RedisJobs
    except ImportError:
        raise SettingsError(
            "GEOBENTO_JOB_STORE: redis needs: pip install 'geobento[redis]'"
        ) from None
    try:
        return RedisJobs(settings.job_store, settings.job_ttl, settings.max_jobs)
    except ValueError as error:
        raise SettingsError(f"GEOBENTO_JOB_STORE: {error}") from None
