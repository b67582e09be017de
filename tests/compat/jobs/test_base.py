"""What every job store promises, over SQLite and over a real Redis server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from compat.jobs.base import GIVEN_UP_MESSAGE, MAX_CLAIMS, Claim, Job, JobNotFound, JobStore
from geobento.schemas.errors import Overloaded
from tests.compat.conftest import MakeStore

pytestmark = pytest.mark.anyio

Open = Callable[..., Awaitable[JobStore]]
LONG, ENDED = 60.0, 0.0


async def added(store: JobStore, request: bytes = b"{}", model: str = "clip") -> Job:
    """A new job."""
    return await store.add("image-embedding", model, False, request)


async def claimed(store: JobStore, lease_s: float = LONG) -> Claim:
    """A claim of the oldest waiting job."""
    claim = await store.claim(lease_s)
    assert claim is not None
    return claim


async def test_the_states_of_a_job(opened: Open) -> None:
    """It waits, runs and is complete; the result can be read again."""
    store = await opened()
    job = await store.add("text-embedding", "clip", True, b'{"text": ["\xc3\xa4"]}')
    assert job == await store.get(job.id)
    assert (job.task, job.model, job.batched, job.state) == (
        "text-embedding",
        "clip",
        True,
        "starting",
    )
    claim = await claimed(store)
    assert claim.request == b'{"text": ["\xc3\xa4"]}'
    assert claim.job == await store.get(job.id)
    assert claim.job.state == "running"
    await store.finish(claim, result=b"[1]")
    for _ in range(2):
        result = await store.get(job.id)
        assert (result.state, result.result, result.detail) == ("complete", b"[1]", None)
    assert await store.claim(LONG) is None


async def test_a_failed_job_says_why(opened: Open) -> None:
    """The detail is kept, and there is no result."""
    store = await opened()
    job = await added(store)
    await store.finish(await claimed(store), detail="not a pïcture")
    result = await store.get(job.id)
    assert (result.state, result.result, result.detail) == ("failed", None, "not a pïcture")


async def test_unknown_jobs(opened: Open) -> None:
    """An id that was never given is an error of its own."""
    with pytest.raises(JobNotFound):
        await (await opened()).get("nothing")


async def test_oldest_first(opened: Open) -> None:
    """Jobs run in the order of submission; a released one keeps its position."""
    store = await opened()
    jobs = [await added(store) for _ in range(3)]
    first = await claimed(store)
    await store.release(first)
    assert (await store.get(first.job.id)).state == "starting"
    assert [(await claimed(store)).job.id for _ in jobs] == [job.id for job in jobs]


async def test_every_job_is_claimed_once(opened: Open) -> None:
    """Several workers, and several stores over the same jobs, never get the same job."""
    stores = [await opened(), await opened()]
    jobs = [await added(stores[0]) for _ in range(20)]
    claims = await asyncio.gather(*(stores[n % 2].claim(LONG) for n in range(24)))
    result = [claim.job.id for claim in claims if claim is not None]
    assert sorted(result) == sorted(job.id for job in jobs)


async def test_leases_end(opened: Open) -> None:
    """A job whose worker is silent goes to another; what the first says then has no effect."""
    store = await opened()
    await added(store)
    lost, held = await claimed(store, ENDED), await claimed(store)
    assert lost.job.id == held.job.id
    assert not await store.renew(lost, LONG)
    await store.release(lost)
    await store.finish(lost, result=b"1")
    assert (await store.get(held.job.id)).state == "running"
    assert await store.renew(held, LONG)
    await store.finish(held, result=b"2")
    assert (await store.get(held.job.id)).result == b"2"
    assert not await store.renew(held, LONG)


async def test_a_lease_that_ended_leaves_others_alone(opened: Open) -> None:
    """Of two jobs that were let go, the one that is not claimed again waits."""
    store = await opened()
    jobs = [await added(store) for _ in range(2)]
    claims = [await claimed(store, ENDED) for _ in range(2)]
    await claimed(store)
    assert (await store.get(jobs[1].id)).state == "starting"
    assert not await store.renew(claims[1], LONG)


async def test_renewed_leases(opened: Open) -> None:
    """A renewed job is not claimed again."""
    store = await opened()
    await added(store)
    claim = await claimed(store, 0.05)
    assert await store.renew(claim, LONG)
    await asyncio.sleep(0.1)
    assert await store.claim(LONG) is None


async def test_a_job_that_ends_the_service(opened: Open) -> None:
    """It is given up after some claims, the next job runs; giving back is no claim."""
    store = await opened()
    poison, healthy = await added(store), await added(store)
    await store.release(await claimed(store))
    for _ in range(MAX_CLAIMS):
        assert (await claimed(store, ENDED)).job.id == poison.id
    assert (await claimed(store)).job.id == healthy.id
    result = await store.get(poison.id)
    assert (result.state, result.detail) == ("failed", GIVEN_UP_MESSAGE)
    assert [job.id for job in await store.list_unfinished("clip")] == [healthy.id]


async def test_waiting_jobs_are_bounded(opened: Open) -> None:
    """More are refused with a time to come back; those that run do not count."""
    store = await opened(max_waiting=2)
    for _ in range(2):
        await added(store)
    with pytest.raises(Overloaded, match="2 jobs are waiting") as caught:
        await added(store)
    assert caught.value.retry_after
    await claimed(store)
    await added(store)


async def test_results_expire(opened: Open) -> None:
    """After its time a result is gone, whether complete or failed; unfinished jobs stay."""
    store = await opened(ttl_s=0.05)
    jobs = [await added(store) for _ in range(4)]
    await store.finish(await claimed(store), result=b"1")
    await store.finish(await claimed(store), detail="no")
    await claimed(store)
    await asyncio.sleep(0.1)
    for purged in (False, True):
        if purged:
            await store.delete_expired()
        for job in jobs[:2]:
            with pytest.raises(JobNotFound):
                await store.get(job.id)
        assert [(await store.get(job.id)).state for job in jobs[2:]] == ["running", "starting"]


async def test_jobs_of_a_model(opened: Open) -> None:
    """Those that wait or run are listed, oldest first, each model's for itself."""
    store = await opened()
    jobs = [await added(store) for _ in range(12)]
    await added(store, model="dino")
    await store.finish(await claimed(store), result=b"1")
    await claimed(store)
    listed = await store.list_unfinished("clip")
    assert [job.id for job in listed] == [job.id for job in jobs[1:]]
    assert [job.state for job in listed] == ["running"] + 10 * ["starting"]
    assert await store.list_unfinished("mosaiks") == []


async def test_stopped_models(opened: Open) -> None:
    """A model is stopped until it is started, whoever asks."""
    store, other = await opened(), await opened()
    await store.stop_model("clip")
    await store.stop_model("clip")
    assert await other.is_stopped("clip")
    assert not await other.is_stopped("dino")
    await other.start_model("clip")
    assert not await store.is_stopped("clip")


async def test_nothing_is_lost_when_the_store_is_opened_again(make_store: MakeStore) -> None:
    """Waiting jobs, results and stopped models are as they were."""
    store = make_store()
    await store.open()
    done, waiting = await added(store), await added(store, b"later")
    await store.finish(await claimed(store), result=b"1")
    await store.stop_model("clip")
    await store.close()
    again = make_store()
    await again.open()
    try:
        assert (await again.get(done.id)).result == b"1"
        claim = await claimed(again)
        assert (claim.job.id, claim.request) == (waiting.id, b"later")
        assert await again.is_stopped("clip")
    finally:
        await again.close()
