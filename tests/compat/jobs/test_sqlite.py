"""What is SQLite's own."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from compat.jobs.base import JobStoreError
from compat.jobs.sqlite import SqliteJobStore

pytestmark = pytest.mark.anyio


async def with_a_job(path: Path) -> SqliteJobStore:
    """A store with one running job."""
    store = SqliteJobStore(path, 60, 10)
    await store.open()
    await store.add("text-embedding", "clip", False, b"secret")
    assert await store.claim(60) is not None
    return store


async def test_jobs_of_the_dead_run_again_at_once(tmp_path: Path) -> None:
    """What a process held that no longer lives waits from the start on, lease or not."""
    path = tmp_path / "home" / "jobs.sqlite"
    first = await with_a_job(path)
    await first.close()
    second = SqliteJobStore(path, 60, 10)
    await second.open()
    assert await second.claim(60) is not None
    await second.close()


async def test_jobs_of_the_living_are_left_to_them(tmp_path: Path) -> None:
    """A second process at the same file waits for the leases of the first."""
    path = tmp_path / "jobs.sqlite"
    first, second = await with_a_job(path), SqliteJobStore(path, 60, 10)
    await second.open()
    assert await second.claim(60) is None
    await first.close()
    await second.close()


async def test_nothing_stays_on_disk(tmp_path: Path) -> None:
    """Requests go when a job is done or given up, results when they expire."""
    path = tmp_path / "jobs.sqlite"
    store = SqliteJobStore(path, 0, 10)
    await store.open()
    for _ in range(2):
        await store.add("text-embedding", "clip", False, b"secret")
    claim = await store.claim(60)
    assert claim is not None
    await store.finish(claim, result=b"1")
    for _ in range(3):
        assert await store.claim(0) is not None
    assert await store.claim(0) is None
    assert rows(path, "requests") == 0
    assert rows(path, "results") == 1
    await store.delete_expired()
    assert rows(path, "jobs") == rows(path, "results") == 0
    assert path.stat().st_mode & 0o077 == 0
    await store.close()


def rows(path: Path, table: str) -> int:
    """Rows of a table."""
    result: int = sqlite3.connect(path).execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return result


async def test_a_damaged_file(tmp_path: Path) -> None:
    """It is an error with an answer, which does not say where the file lies."""
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(b"this is no database" * 100)
    store = SqliteJobStore(path, 60, 10)
    with pytest.raises(JobStoreError) as caught:
        await store.open()
    assert str(tmp_path) not in caught.value.message
