"""Bounds what threads hold at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition


def _ignore(_: float) -> None:
    return None


class BlockingLimiter:
    """So much at a time; who wants more waits, in order of arrival. Safe for several threads.

    What is larger than the whole goes alone, or it could never go. Who holds anything must not
    wait for more: the others would wait for each other.

    Args:
        capacity: How much.
        on_change: Told how much is held whenever that changes.
    """

    def __init__(self, capacity: float, on_change: Callable[[float], None] = _ignore) -> None:
        self._capacity = capacity
        self._on_change = on_change
        self._used = 0.0
        self._queue: deque[object] = deque()
        self._changed = Condition()

    def try_acquire(self, amount: float) -> bool:
        """Hold so much more, if there is room for it and nobody waits."""
        with self._changed:
            if self._queue or not self._fits(amount):
                return False
            self._add(amount)
            return True

    def acquire(self, amount: float, timeout_s: float | None = None) -> bool:
        """Hold so much once there is room for it; False: there was none in time."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                entered = self._changed.wait_for(
                    lambda: self._queue[0] is ticket and self._fits(amount), timeout_s
                )
                if entered:
                    self._add(amount)
                return entered
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def release(self, amount: float) -> None:
        """No longer hold so much."""
        with self._changed:
            self._add(-amount)
            self._changed.notify_all()

    def _fits(self, amount: float) -> bool:
        return not self._used or self._used + amount <= self._capacity

    def _add(self, amount: float) -> None:
        self._used += amount
        self._on_change(self._used)
