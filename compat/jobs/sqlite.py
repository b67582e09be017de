"""Jobs in a SQLite file, for one replica."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import sqlite3
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TypeVar

from compat.jobs.base import (
    GIVEN_UP_MESSAGE,
    JOB_NOT_FOUND_MESSAGE,
    MAX_CLAIMS,
    Claim,
    Job,
    JobNotFound,
    JobStoreError,
)
from geobento.schemas.errors import Overloaded

logger = logging.getLogger("geobento.jobs")

Result = TypeVar("Result")

BUSY_TIMEOUT_S = 10
"""Longest wait for another process that writes."""

# Requests and results are large and lie apart: a row is rewritten as a whole when it changes.
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    task TEXT NOT NULL,
    model TEXT NOT NULL,
    batched INTEGER NOT NULL,
    state TEXT NOT NULL,
    claims INTEGER NOT NULL DEFAULT 0,
    token TEXT,
    until REAL,
    detail TEXT
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, number);
CREATE TABLE IF NOT EXISTS requests (id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS results (id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS stopped (model TEXT PRIMARY KEY);
"""
# `until`: end of the lease while running, end of the result's time afterwards; Unix seconds.

SELECT_JOB = "SELECT id, task, model, batched, state, detail FROM jobs"


class SqliteJobStore:
    """A job store, see `compat.jobs.base.JobStore`.

    One thread owns the connection, so that the event loop never waits for the disk. The log is
    synchronised at every commit (``synchronous=FULL``; ``NORMAL`` would lose the last accepted
    jobs with the power).

    Args:
        path: The file; made where it does not exist.
        ttl_s: How long a result can be read.
        max_queue_size: More waiting jobs are refused.
    """

    def __init__(self, path: Path, ttl_s: float, max_queue_size: int) -> None:
        self._path = path
        self._ttl_s = ttl_s
        self._max_queue_size = max_queue_size
        self._thread = ThreadPoolExecutor(1, "jobs")
        self._connection: sqlite3.Connection | None = None
        self._lock_file: IO[bytes] | None = None

    async def open(self) -> None:
        """Open the file; what a process that no longer lives has claimed waits again at once."""
        await self._run_in_thread(self._open)

    async def close(self) -> None:
        """Close the file."""
        await self._run_in_thread(self._close)
        self._thread.shutdown()

    async def add(self, task: str, model: str, batched: bool, request: bytes) -> Job:
        """Accept a job."""
        job = Job(str(uuid.uuid4()), task, model, batched, "starting")

        def insert(db: sqlite3.Connection) -> None:
            (waiting,) = db.execute("SELECT count(*) FROM jobs WHERE state = 'starting'").fetchone()
            if waiting >= self._max_queue_size:
                raise Overloaded(f"{waiting} jobs are waiting, which is the limit", retry_after=5)
            db.execute(
                "INSERT INTO jobs (id, task, model, batched, state) VALUES (?, ?, ?, ?, ?)",
                (job.id, task, model, batched, job.state),
            )
            db.execute("INSERT INTO requests VALUES (?, ?)", (job.id, request))

        await self._write(insert)
        return job

    async def get(self, job_id: str) -> Job:
        """A job."""

        def select(db: sqlite3.Connection) -> Job | None:
            rows = db.execute(
                "SELECT job.id, task, model, batched, state, detail, body FROM jobs AS job "
                "LEFT JOIN results ON results.id = job.id WHERE job.id = ? "
                "AND (state IN ('starting', 'running') OR until > ?)",
                (job_id, time.time()),
            )
            return next((_job_from_row(*row) for row in rows), None)

        job = await self._read(select)
        if job is None:
            raise JobNotFound(JOB_NOT_FOUND_MESSAGE)
        return job

    async def list_unfinished(self, model: str) -> list[Job]:
        """The jobs of a model that wait or run."""
        rows = await self._read(
            lambda db: db.execute(
                f"{SELECT_JOB} WHERE state IN ('starting', 'running') AND model = ? "
                "ORDER BY number",
                (model,),
            ).fetchall()
        )
        return [_job_from_row(*row) for row in rows]

    async def claim(self, lease_s: float) -> Claim | None:
        """Begin work on the oldest waiting job."""
        return await self._write(lambda db: self._claim(db, lease_s))

    async def renew(self, claim: Claim, lease_s: float) -> bool:
        """Prolong a lease."""
        return await self._write(
            lambda db: _update_if_claimed(db, claim, "until = ?", time.time() + lease_s),
        )

    async def release(self, claim: Claim) -> None:
        """Let the job wait again."""
        await self._write(
            lambda db: _update_if_claimed(
                db, claim, "state = 'starting', token = NULL, claims = claims - 1"
            )
        )

    async def finish(
        self, claim: Claim, *, result: bytes | None = None, detail: str | None = None
    ) -> None:
        """Store the result, or why there is none."""

        def update(db: sqlite3.Connection) -> None:
            state = "failed" if result is None else "complete"
            expires = time.time() + self._ttl_s
            if _update_if_claimed(
                db, claim, "state = ?, detail = ?, until = ?, token = NULL", state, detail, expires
            ):
                db.execute("DELETE FROM requests WHERE id = ?", (claim.job.id,))
                if result is not None:
                    db.execute("INSERT INTO results VALUES (?, ?)", (claim.job.id, result))

        await self._write(update)

    async def stop_model(self, model: str) -> None:
        """Remember that a model is stopped."""
        await self._write(
            lambda db: db.execute("INSERT OR IGNORE INTO stopped VALUES (?)", (model,))
        )

    async def start_model(self, model: str) -> None:
        """Forget that a model was stopped."""
        await self._write(lambda db: db.execute("DELETE FROM stopped WHERE model = ?", (model,)))

    async def is_stopped(self, model: str) -> bool:
        """Whether a model is stopped."""
        row = await self._read(
            lambda db: db.execute("SELECT 1 FROM stopped WHERE model = ?", (model,)).fetchone()
        )
        return row is not None

    async def delete_expired(self) -> None:
        """Delete results that have expired."""

        def delete(db: sqlite3.Connection) -> None:
            db.execute(
                "DELETE FROM jobs WHERE state IN ('complete', 'failed') AND until <= ?",
                (time.time(),),
            )
            db.execute("DELETE FROM results WHERE id NOT IN (SELECT id FROM jobs)")

        await self._write(delete)

    def _claim(self, db: sqlite3.Connection, lease_s: float) -> Claim | None:
        now = time.time()
        db.execute(
            "UPDATE jobs SET state = 'starting', token = NULL "
            "WHERE state = 'running' AND until <= ?",
            (now,),
        )
        given_up = "state = 'starting' AND claims >= ?"
        db.execute(
            f"DELETE FROM requests WHERE id IN (SELECT id FROM jobs WHERE {given_up})",
            (MAX_CLAIMS,),
        )
        db.execute(
            f"UPDATE jobs SET state = 'failed', detail = ?, until = ? WHERE {given_up}",
            (GIVEN_UP_MESSAGE, now + self._ttl_s, MAX_CLAIMS),
        )
        row = db.execute(
            "SELECT id, task, model, batched, claims + 1, body FROM jobs JOIN requests USING (id) "
            "WHERE state = 'starting' ORDER BY number LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        job_id, task, model, batched, attempt, request = row
        token = uuid.uuid4().hex
        db.execute(
            "UPDATE jobs SET state = 'running', claims = ?, token = ?, until = ? WHERE id = ?",
            (attempt, token, now + lease_s, job_id),
        )
        job = Job(job_id, task, model, bool(batched), "running")
        return Claim(job, request, token, attempt)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        self._connection = db = sqlite3.connect(self._path, BUSY_TIMEOUT_S, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(SCHEMA)
        self._lock_file = presence = self._path.with_suffix(".lock").open("wb")
        try:
            fcntl.flock(presence, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another process shares the job store")
        else:
            db.execute(
                "UPDATE jobs SET state = 'starting', token = NULL WHERE state = 'running'",
            )
        # Shared as long as this process lives; the system lets go of it however it ends.
        fcntl.flock(presence, fcntl.LOCK_SH)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._lock_file is not None:
            self._lock_file.close()

    async def _read(self, query: Callable[[sqlite3.Connection], Result]) -> Result:
        return await self._run_in_thread(lambda: query(self._require_connection()))

    async def _write(self, statements: Callable[[sqlite3.Connection], Result]) -> Result:
        """Do work in a transaction of its own."""

        def transaction() -> Result:
            db = self._require_connection()
            db.execute("BEGIN IMMEDIATE")
            try:
                result = statements(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return result

        return await self._run_in_thread(transaction)

    async def _run_in_thread(self, function: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function)
        except (sqlite3.Error, OSError) as error:
            logger.warning("the job store failed: %s", error)
            raise JobStoreError(
                "the job store cannot be read or written; the service log has more", retry_after=5
            ) from error

    def _require_connection(self) -> sqlite3.Connection:
        assert self._connection is not None, "open() comes first"
        return self._connection


def _update_if_claimed(db: sqlite3.Connection, claim: Claim, change: str, *values: object) -> bool:
    """Change a job that a claim still holds; False: it does not."""
    cursor = db.execute(
        f"UPDATE jobs SET {change} WHERE id = ? AND token = ?",
        (*values, claim.job.id, claim.token),
    )
    return cursor.rowcount == 1


def _job_from_row(
    job_id: str,
    task: str,
    model: str,
    batched: int,
    state: str,
    detail: str | None,
    result: bytes | None = None,
) -> Job:
    return Job(job_id, task, model, bool(batched), state, result, detail)  # type: ignore[arg-type]
