"""Dynamic batching in the API server: requests share the calls of a runner.

It is the only place where items of different requests are joined. BentoML's own batching in the
runner is not used: with these calls it had nothing left to join, and by itself it cannot isolate
the items of a call that was lost. Figures are in docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(eq=False)
class _PendingCall(Generic[Item, Result]):
    items: Sequence[Item]
    future: asyncio.Future[list[Result]]
    isolated: bool
    context: Context


class DynamicBatcher(Generic[Item, Result]):
    """Joins items of concurrent requests into batches.

    An idle runner gets items at once. When all its workers are busy, items queue here in order of
    arrival and leave in the next batch, up to `max_batch_size`. A batch costs less than its items
    one by one. The span of a call belongs to the request of its first items.

    Args:
        send: Sends a batch; returns one result per item.
        max_batch_size: Maximum number of items in a call. A larger part of a request is sent alone.
        min_concurrency: Concurrent calls of any size.
        max_concurrency: Concurrent calls if the further ones are full, so that a batch is ready
            when another ends.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[list[Result]]],
        max_batch_size: int,
        min_concurrency: int,
        max_concurrency: int,
    ) -> None:
        self._send = send
        self._max_batch_size = max_batch_size
        self._min_concurrency = min_concurrency
        self._max_concurrency = max_concurrency
        self._queue: deque[_PendingCall[Item, Result]] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()

    async def encode(self, items: Sequence[Item], *, isolated: bool = False) -> list[Result]:
        """Results of one part of a request; raises what the call raised.

        Items that are cancelled in the queue are never sent. A call that has begun goes on.

        Args:
            items: Sent in the same call.
            isolated: Send them in a call of their own.
        """
        future = asyncio.get_running_loop().create_future()
        part = _PendingCall[Item, Result](items, future, isolated, copy_context())
        self._queue.append(part)
        self._dispatch()
        try:
            return await part.future
        finally:
            if part in self._queue:
                self._queue.remove(part)

    def _dispatch(self) -> None:
        while self._queue and len(self._in_flight) < (
            self._max_concurrency if self._has_full_batch() else self._min_concurrency
        ):
            parts = self._next_batch()
            task = asyncio.create_task(self._send_batch(parts), context=parts[0].context)
            self._in_flight.add(task)
            task.add_done_callback(self._on_done)

    def _has_full_batch(self) -> bool:
        """Whether the queue fills a call."""
        free = self._max_batch_size
        for part in self._queue:
            free -= len(part.items)
            if free <= 0 or part.isolated:
                return True
        return False

    def _next_batch(self) -> list[_PendingCall[Item, Result]]:
        parts = [self._queue.popleft()]
        free = self._max_batch_size - len(parts[0].items)
        while self._queue and not parts[0].isolated and not self._queue[0].isolated:
            free -= len(self._queue[0].items)
            if free < 0:
                break
            parts.append(self._queue.popleft())
        return parts

    async def _send_batch(self, parts: Sequence[_PendingCall[Item, Result]]) -> None:
        try:
            results = iter(await self._send([item for part in parts for item in part.items]))
            for part in parts:
                part_results = [next(results) for _ in part.items]
                if not part.future.done():
                    part.future.set_result(part_results)
        except Exception as error:
            for part in parts:
                if not part.future.done():
                    part.future.set_exception(error)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._dispatch()
