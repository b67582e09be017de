"""Bounds on what is held at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from geobento.schemas.errors import Overloaded

RETRY_AFTER_S = 1


def _nobody(_: float) -> None:
    return None


class Budget:
    """So much at a time; what is beyond is refused at once. For one event loop.

    What is larger than the whole is let in where nothing else is held, or it could never be.

    Args:
        most: How much.
        what: What is counted, as the refusal says it.
        watch: Told how much is held whenever that changes.
    """

    def __init__(self, most: float, what: str, watch: Callable[[float], None] = _nobody) -> None:
        self._most = most
        self._what = what
        self._watch = watch
        self._used = 0.0

    def take(self, amount: float) -> None:
        """Hold so much more.

        Raises:
            Overloaded: It is over the bound together with what is held.
        """
        if self._used and self._used + amount > self._most:
            raise Overloaded(
                f"the service holds as many {self._what} as it allows itself",
                retry_after=RETRY_AFTER_S,
            )
        self._used += amount
        self._watch(self._used)

    def give(self, amount: float) -> None:
        """No longer hold so much."""
        self._used -= amount
        self._watch(self._used)

    @contextmanager
    def held(self, amount: float) -> Iterator[None]:
        """Hold so much for the length of a block.

        Raises:
            Overloaded: It is over the bound together with what is held.
        """
        self.take(amount)
        try:
            yield
        finally:
            self.give(amount)
