"""What is Redis's own."""

from __future__ import annotations

import pytest

from compat.jobs.base import JobStoreError
from tests.servers import free_port

redis = pytest.importorskip("redis")

from compat.jobs.redis import KEY_PREFIX, RedisJobStore  # noqa: E402 - needs redis

pytestmark = pytest.mark.anyio


async def test_requests_go_with_the_work(redis_url: str) -> None:
    """A finished job holds its result alone, and expires."""
    store = RedisJobStore(redis_url, 60, 10)
    job = await store.add("text-embedding", "clip", False, b"secret")
    claim = await store.claim(60)
    assert claim is not None
    await store.finish(claim, result=b"1")
    await store.close()
    with redis.Redis.from_url(redis_url) as client:
        fields = client.hgetall(f"{KEY_PREFIX}job:{job.id}")
        assert b"secret" not in fields.values()
        assert fields[b"result"] == b"1"
        assert 0 < client.ttl(f"{KEY_PREFIX}job:{job.id}") <= 60
        assert {key.decode() for key in client.scan_iter()} == {
            f"{KEY_PREFIX}job:{job.id}",
            f"{KEY_PREFIX}number",
        }


async def test_a_job_that_redis_lost(redis_url: str) -> None:
    """An evicted job is passed over, the next one runs."""
    store = RedisJobStore(redis_url, 60, 10)
    jobs = [await store.add("text-embedding", "clip", False, b"x") for _ in range(3)]
    assert await store.claim(0) is not None
    with redis.Redis.from_url(redis_url) as client:
        client.delete(*(f"{KEY_PREFIX}job:{job.id}" for job in jobs[:2]))
    claim = await store.claim(60)
    assert claim is not None
    assert claim.job.id == jobs[2].id
    assert [job.id for job in await store.list_unfinished("clip")] == [jobs[2].id]
    await store.close()


async def test_no_server() -> None:
    """A store that is away is an error with an answer, which holds no address and no password."""
    store = RedisJobStore(f"redis://:hush@127.0.0.1:{free_port()}/0", 60, 10)
    await store.open()
    with pytest.raises(JobStoreError) as caught:
        await store.get("any")
    assert caught.value.retry_after
    assert "hush" not in caught.value.message
    assert "127" not in caught.value.message
    await store.close()
