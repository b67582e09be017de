"""Jobs in a Redis server, for several replicas.

Per job one hash; ids of waiting jobs by number and of running jobs by the end of their lease in
sorted sets; unfinished jobs of a model in a set. What changes more than one of them is a script,
which Redis runs as a whole. Times are Redis's own, milliseconds.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Sequence
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

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

KEY_PREFIX = "geobento:jobs:"
TIMEOUT_S = 10

# What every script begins with: names, the time, and moves between the sets.
_COMMON = """
local prefix = ARGV[1]
local waiting, running = prefix .. 'waiting', prefix .. 'running'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function key(id) return prefix .. 'job:' .. id end
local function held(id, token) return redis.call('HGET', key(id), 'token') == token end
local function wait(id)
  redis.call('ZREM', running, id)
  redis.call('HSET', key(id), 'state', 'starting')
  redis.call('HDEL', key(id), 'token')
  redis.call('ZADD', waiting, redis.call('HGET', key(id), 'number'), id)
end
local function finish(id, state, field, value, ttl)
  redis.call('ZREM', running, id)
  redis.call('SREM', prefix .. 'model:' .. redis.call('HGET', key(id), 'model'), id)
  redis.call('HSET', key(id), 'state', state, field, value)
  redis.call('HDEL', key(id), 'request', 'token')
  redis.call('PEXPIRE', key(id), ttl)
end
"""

_ADD = """
local id, limit = ARGV[2], tonumber(ARGV[3])
local count = redis.call('ZCARD', waiting)
if count >= limit then return count end
local number = redis.call('INCR', prefix .. 'number')
redis.call('HSET', key(id), 'task', ARGV[4], 'model', ARGV[5], 'batched', ARGV[6],
  'request', ARGV[7], 'state', 'starting', 'claims', 0, 'number', number)
redis.call('ZADD', waiting, number, id)
redis.call('SADD', prefix .. 'model:' .. ARGV[5], id)
return -1
"""

_CLAIM = """
local token, lease, claims, given_up, ttl = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
for _, id in ipairs(redis.call('ZRANGEBYSCORE', running, '-inf', now)) do
  if redis.call('EXISTS', key(id)) == 1 then wait(id) else redis.call('ZREM', running, id) end
end
while true do
  local id = redis.call('ZRANGE', waiting, 0, 0)[1]
  if not id then return false end
  redis.call('ZREM', waiting, id)
  if redis.call('EXISTS', key(id)) == 1 then
    if tonumber(redis.call('HGET', key(id), 'claims')) >= claims then
      finish(id, 'failed', 'detail', given_up, ttl)
    else
      local attempt = redis.call('HINCRBY', key(id), 'claims', 1)
      redis.call('HSET', key(id), 'state', 'running', 'token', token)
      redis.call('ZADD', running, now + lease, id)
      local fields = redis.call('HMGET', key(id), 'task', 'model', 'batched', 'request')
      return {attempt, id, unpack(fields)}
    end
  end
end
"""

_RENEW = """
local id, token, lease = ARGV[2], ARGV[3], ARGV[4]
if not held(id, token) then return 0 end
redis.call('ZADD', running, now + lease, id)
return 1
"""

_GIVE_BACK = """
local id, token = ARGV[2], ARGV[3]
if not held(id, token) then return 0 end
redis.call('HINCRBY', key(id), 'claims', -1)
wait(id)
return 1
"""

_FINISH = """
local id, token = ARGV[2], ARGV[3]
if not held(id, token) then return 0 end
finish(id, ARGV[4], ARGV[5], ARGV[6], ARGV[7])
return 1
"""


class RedisJobStore:
    """A job store, see `compat.jobs.base.JobStore`. It is as durable as the server's own settings.

    Args:
        url: Address of the server, ``redis://`` or ``rediss://``.
        ttl_s: How long a result can be read.
        max_queue_size: More waiting jobs are refused.

    Raises:
        ValueError: The address cannot be read.
    """

    def __init__(self, url: str, ttl_s: float, max_queue_size: int) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._max_queue_size = max_queue_size
        self._scripts = {
            script: self._redis.register_script(_COMMON + script)
            for script in (_ADD, _CLAIM, _RENEW, _GIVE_BACK, _FINISH)
        }

    async def open(self) -> None:
        """Nothing to do: connections are made when they are needed."""

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def add(self, task: str, model: str, batched: bool, request: bytes) -> Job:
        """Accept a job."""
        job = Job(str(uuid.uuid4()), task, model, batched, "starting")
        waiting = await self._run_script(
            _ADD, job.id, self._max_queue_size, task, model, int(batched), request
        )
        if waiting >= 0:
            raise Overloaded(f"{waiting} jobs are waiting, which is the limit", retry_after=5)
        return job

    async def get(self, job_id: str) -> Job:
        """A job."""
        fields = await self._execute(self._redis.hmget(f"{KEY_PREFIX}job:{job_id}", _JOB_FIELDS))
        if fields[0] is None:
            raise JobNotFound(JOB_NOT_FOUND_MESSAGE)
        return _job_from_fields(job_id, fields)

    async def list_unfinished(self, model: str) -> list[Job]:
        """The jobs of a model that wait or run."""
        members = await self._execute(self._redis.smembers(f"{KEY_PREFIX}model:{model}"))
        ids = [member.decode() for member in members]
        pipeline = self._redis.pipeline(transaction=False)
        for job_id in ids:
            pipeline.hmget(f"{KEY_PREFIX}job:{job_id}", ["number", *_JOB_FIELDS])
        rows = await self._execute(pipeline.execute()) if ids else []
        numbered_jobs = [
            (int(number), _job_from_fields(job_id, fields))
            for job_id, (number, *fields) in zip(ids, rows, strict=True)
            if number is not None
        ]
        numbered_jobs.sort(key=lambda numbered: numbered[0])
        return [job for _, job in numbered_jobs if job.state in ("starting", "running")]

    async def claim(self, lease_s: float) -> Claim | None:
        """Begin work on the oldest waiting job."""
        token = uuid.uuid4().hex
        row = await self._run_script(
            _CLAIM, token, round(lease_s * 1000), MAX_CLAIMS, GIVEN_UP_MESSAGE, self._ttl_ms
        )
        if row is None:
            return None
        attempt, job_id, task, model, batched, request = row
        job = Job(job_id.decode(), task.decode(), model.decode(), batched == b"1", "running")
        return Claim(job, request, token, attempt)

    async def renew(self, claim: Claim, lease_s: float) -> bool:
        """Prolong a lease."""
        return bool(
            await self._run_script(_RENEW, claim.job.id, claim.token, round(lease_s * 1000)),
        )

    async def release(self, claim: Claim) -> None:
        """Let the job wait again."""
        await self._run_script(_GIVE_BACK, claim.job.id, claim.token)

    async def finish(
        self, claim: Claim, *, result: bytes | None = None, detail: str | None = None
    ) -> None:
        """Store the result, or why there is none."""
        outcome = (
            ("failed", "detail", detail or "") if result is None else ("complete", "result", result)
        )
        await self._run_script(_FINISH, claim.job.id, claim.token, *outcome, self._ttl_ms)

    async def stop_model(self, model: str) -> None:
        """Remember that a model is stopped."""
        await self._execute(self._redis.sadd(f"{KEY_PREFIX}stopped", model))

    async def start_model(self, model: str) -> None:
        """Forget that a model was stopped."""
        await self._execute(self._redis.srem(f"{KEY_PREFIX}stopped", model))

    async def is_stopped(self, model: str) -> bool:
        """Whether a model is stopped."""
        return bool(await self._execute(self._redis.sismember(f"{KEY_PREFIX}stopped", model)))

    async def delete_expired(self) -> None:
        """Nothing to do: Redis deletes what has expired."""

    async def _run_script(self, script: str, *values: str | bytes | int) -> Any:
        return await self._execute(self._scripts[script](args=[KEY_PREFIX, *values]))

    async def _execute(self, command: Any) -> Any:
        try:
            return await cast("Awaitable[Any]", command)
        except (RedisError, OSError) as error:
            logger.warning("the job store failed: %s", error)
            raise JobStoreError(
                "the job store cannot be reached; try again later", retry_after=5
            ) from error


_JOB_FIELDS = ["state", "task", "model", "batched", "result", "detail"]


def _job_from_fields(job_id: str, fields: Sequence[bytes | None]) -> Job:
    state, task, model, batched, result, detail = fields
    texts = [None if value is None else value.decode() for value in (task, model, state, detail)]
    return Job(job_id, texts[0], texts[1], batched == b"1", texts[2], result, texts[3])  # type: ignore[arg-type]
