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
class _Part(Generic[Item, Result]):
    items: Sequence[Item]
    answer: asyncio.Future[list[Result]]
    alone: bool
    context: Context


class JointCalls(Generic[Item, Result]):
    """Sends items of any number of requests in few calls.

    Whatever waits when a call may begin goes with it, in order of arrival. With little load nothing
    waits for others; while a call is under way, what comes gathers for the next, since a model
    does several items together in less time than one after the other, and what a call costs besides
    its items is shared. To those that trace, a call is of the request that its first items are of.

    Args:
        call: Sends items; answers one result each.
        batch: Most items in a call; a larger part goes alone.
        eager: So many calls under way at a time may be of any size.
        most: So many may be under way if they are full, so that the next is there when one ends.
    """

    def __init__(
        self,
        call: Callable[[list[Item]], Awaitable[list[Result]]],
        batch: int,
        eager: int,
        most: int,
    ) -> None:
        self._call = call
        self._batch = batch
        self._eager = eager
        self._most = most
        self._queue: deque[_Part[Item, Result]] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def encode(self, items: Sequence[Item], *, alone: bool = False) -> list[Result]:
        """Results of one part of a request; raises what the call raised.

        Who is cancelled while it waits is never sent. A call that is under way goes on, and has
        its place until it is answered.

        Args:
            items: They stay together.
            alone: Whether they share the call with no others.
        """
        answer = asyncio.get_running_loop().create_future()
        part = _Part[Item, Result](items, answer, alone, copy_context())
        self._queue.append(part)
        self._begin()
        try:
            return await part.answer
        finally:
            if part in self._queue:
                self._queue.remove(part)

    def _begin(self) -> None:
        while self._queue and len(self._under_way) < (self._most if self._full() else self._eager):
            parts = self._next()
            task = asyncio.create_task(self._send(parts), context=parts[0].context)
            self._under_way.add(task)
            task.add_done_callback(self._end)

    def _full(self) -> bool:
        """Whether a call that begins now would leave no room for what comes later."""
        room = self._batch
        for part in self._queue:
            room -= len(part.items)
            if room <= 0 or part.alone:
                return True
        return False

    def _next(self) -> list[_Part[Item, Result]]:
        parts = [self._queue.popleft()]
        room = self._batch - len(parts[0].items)
        while self._queue and not parts[0].alone and not self._queue[0].alone:
            room -= len(self._queue[0].items)
            if room < 0:
                break
            parts.append(self._queue.popleft())
        return parts

    async def _send(self, parts: Sequence[_Part[Item, Result]]) -> None:
        try:
            results = iter(await self._call([item for part in parts for item in part.items]))
            for part in parts:
                mine = [next(results) for _ in part.items]
                if not part.answer.done():
                    part.answer.set_result(mine)
        except Exception as error:
            for part in parts:
                if not part.answer.done():
                    part.answer.set_exception(error)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._begin()
