"""Bounds what is with a runner at a time."""

from __future__ import annotations

import asyncio
from collections import deque


class Gate:
    """Lets items in, as many as may be inside; others wait in order of arrival.

    Args:
        most: Items inside at a time; a larger part goes alone.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, items: int) -> None:
        """Wait until there is room; who is cancelled meanwhile gives up the place."""
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((items, turn))
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._queue.remove((items, turn))
                self._let_in()
            else:
                self.leave(items)
            raise

    def leave(self, items: int) -> None:
        """Make room for others."""
        self._inside -= items
        self._let_in()

    def _let_in(self) -> None:
        while self._queue:
            items, turn = self._queue[0]
            if self._inside and self._inside + items > self._most:
                return
            if turn.cancelled():  # removes itself
                return
            self._queue.popleft()
            self._inside += items
            turn.set_result(None)
