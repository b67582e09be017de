"""A Redis server of our own, and job stores of both kinds."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from compat.jobs.base import JobStore
from compat.jobs.sqlite import SqliteJobStore
from tests.servers import free_port

MakeStore: TypeAlias = Callable[..., JobStore]


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of tests that are coroutines."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real server; the test skips where there is none."""
    redis = pytest.importorskip("redis")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    process = subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    client = redis.Redis.from_url(url)
    try:
        for _ in range(200):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        yield url
    finally:
        client.close()
        process.terminate()
        process.wait()


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """Address of a server that holds nothing yet."""
    import redis

    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture(params=["sqlite", "redis"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Makes stores that all keep the same jobs."""
    if request.param == "sqlite":
        return lambda ttl_s=60.0, max_waiting=100: SqliteJobStore(
            tmp_path / "jobs.sqlite", ttl_s, max_waiting
        )
    url = request.getfixturevalue("redis_url")
    from compat.jobs.redis import RedisJobStore

    return lambda ttl_s=60.0, max_waiting=100: RedisJobStore(url, ttl_s, max_waiting)


@pytest.fixture
async def opened(make_store: MakeStore) -> AsyncIterator[Callable[..., object]]:
    """Opens stores, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def go(**arguments: float) -> JobStore:
            store = make_store(**arguments)
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield go
