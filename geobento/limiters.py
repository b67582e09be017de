"""Limits on concurrent work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from geobento.schemas.errors import Overloaded

RETRY_AFTER_S = 1


def _ignore(_: float) -> None:
    return None


class AdmissionLimiter:
    """Bounded counter; rejects when full. For one event loop.

    An amount larger than the capacity is accepted if nothing else is held; otherwise it could never
    be.

    Args:
        capacity: Maximum of the counter.
        unit: What is counted, for the error message.
        on_change: Called with the new value of the counter.
    """

    def __init__(
        self, capacity: float, unit: str, on_change: Callable[[float], None] = _ignore
    ) -> None:
        self._capacity = capacity
        self._unit = unit
        self._on_change = on_change
        self._used = 0.0

    def acquire(self, amount: float) -> None:
        """Add to the counter.

        Raises:
            Overloaded: The capacity would be exceeded.
        """
        if self._used and self._used + amount > self._capacity:
            raise Overloaded(
                f"the service has reached its limit of {self._unit}",
                retry_after=RETRY_AFTER_S,
            )
        self._used += amount
        self._on_change(self._used)

    def release(self, amount: float) -> None:
        """Subtract from the counter."""
        self._used -= amount
        self._on_change(self._used)

    @contextmanager
    def hold(self, amount: float) -> Iterator[None]:
        """Add to the counter for the duration of a block.

        Raises:
            Overloaded: The capacity would be exceeded.
        """
        self.acquire(amount)
        try:
            yield
        finally:
            self.release(amount)
