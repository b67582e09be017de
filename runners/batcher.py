"""Calls of a runner that many requests share."""

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
    """Sends items of any number of requests in few calls.

    Whatever waits when a call may begin goes with it, in order of arrival. With little load nothing
    waits for others; while a call is under way, what comes gathers for the next, since a model
    does several items together in less time than one after the other, and what a call costs besides
    its items is shared. To those that trace, a call is of the request that its first items are of.

    Args:
        send: Sends items; answers one result each.
        max_batch_size: Most items in a call; a larger part goes alone.
        min_concurrency: So many calls under way at a time may be of any size.
        max_concurrency: So many may be under way if they are full, so that the next is there when
            one ends.
    """

    def __init__(
        self,
        send: Callable[[list[Item]], Awaitable[list[Result]]],
        max_batch_size: int,
        min_concurrency: int,
        max_concurrency: int,
    ) -> None:
        self._call = send
        self._max_batch_size = max_batch_size
        self._min_concurrency = min_concurrency
        self._max_concurrency = max_concurrency
        self._queue: deque[_PendingCall[Item, Result]] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()

    async def encode(self, items: Sequence[Item], *, isolated: bool = False) -> list[Result]:
        """Results of one part of a request; raises what the call raised.

        Who is cancelled while it waits is never sent. A call that is under way goes on, and has
        its place until it is answered.

        Args:
            items: They stay together.
            isolated: Whether they share the call with no others.
        """
        answer = asyncio.get_running_loop().create_future()
        part = _PendingCall[Item, Result](items, answer, isolated, copy_context())
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
        """Whether a call that begins now would leave no room for what comes later."""
        room = self._max_batch_size
        for part in self._queue:
            room -= len(part.items)
            if room <= 0 or part.isolated:
                return True
        return False

    def _next_batch(self) -> list[_PendingCall[Item, Result]]:
        parts = [self._queue.popleft()]
        room = self._max_batch_size - len(parts[0].items)
        while self._queue and not parts[0].isolated and not self._queue[0].isolated:
            room -= len(self._queue[0].items)
            if room < 0:
                break
            parts.append(self._queue.popleft())
        return parts

    async def _send_batch(self, parts: Sequence[_PendingCall[Item, Result]]) -> None:
        try:
            results = iter(await self._call([item for part in parts for item in part.items]))
            for part in parts:
                mine = [next(results) for _ in part.items]
                if not part.future.done():
                    part.future.set_result(mine)
        except Exception as error:
            for part in parts:
                if not part.future.done():
                    part.future.set_exception(error)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._dispatch()
