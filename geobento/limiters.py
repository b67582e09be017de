"""Bounds on what is held at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from geobento.schemas.errors import Overloaded

RETRY_AFTER_S = 1


def _ignore(_: float) -> None:
    return None


class AdmissionLimiter:
    """So much at a time; what is beyond is refused at once. For one event loop.

    What is larger than the whole is let in where nothing else is held, or it could never be.

    Args:
        capacity: How much.
        unit: What is counted, as the refusal says it.
        on_change: Told how much is held whenever that changes.
    """

    def __init__(
        self, capacity: float, unit: str, on_change: Callable[[float], None] = _ignore
    ) -> None:
        self._capacity = capacity
        self._unit = unit
        self._on_change = on_change
        self._used = 0.0

    def acquire(self, amount: float) -> None:
        """Hold so much more.

        Raises:
            Overloaded: It is over the bound together with what is held.
        """
        if self._used and self._used + amount > self._capacity:
            raise Overloaded(
                f"the service holds as many {self._unit} as it allows itself",
                retry_after=RETRY_AFTER_S,
            )
        self._used += amount
        self._on_change(self._used)

    def release(self, amount: float) -> None:
        """No longer hold so much."""
        self._used -= amount
        self._on_change(self._used)

    @contextmanager
    def hold(self, amount: float) -> Iterator[None]:
        """Hold so much for the length of a block.

        Raises:
            Overloaded: It is over the bound together with what is held.
        """
        self.acquire(amount)
        try:
            yield
        finally:
            self.release(amount)
