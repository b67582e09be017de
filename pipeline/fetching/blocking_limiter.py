"""A bounded counter that threads wait for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Condition


def _ignore(_: float) -> None:
    return None


class BlockingLimiter:
    """Bounded counter: `acquire` blocks while it is full, in order of arrival. Thread-safe.

    An amount above the capacity is granted once nothing else is acquired. Not reentrant: a thread
    that waits while it holds an amount can deadlock.

    Args:
        capacity: Maximum of the acquired amounts.
        on_change: Called with the acquired total whenever it changes.
    """

    def __init__(self, capacity: float, on_change: Callable[[float], None] = _ignore) -> None:
        self._capacity = capacity
        self._on_change = on_change
        self._used = 0.0
        self._queue: deque[object] = deque()
        self._changed = Condition()

    def try_acquire(self, amount: float) -> bool:
        """Acquire an amount if it fits and no thread waits."""
        with self._changed:
            if self._queue or not self._fits(amount):
                return False
            self._add(amount)
            return True

    def acquire(self, amount: float, timeout_s: float | None = None) -> bool:
        """Acquire an amount, waiting until it fits; False after the timeout."""
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
        """Release an amount."""
        with self._changed:
            self._add(-amount)
            self._changed.notify_all()

    def _fits(self, amount: float) -> bool:
        return not self._used or self._used + amount <= self._capacity

    def _add(self, amount: float) -> None:
        self._used += amount
        self._on_change(self._used)
