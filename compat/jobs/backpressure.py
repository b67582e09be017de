"""How fast jobs are brought to the models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from geobento.schemas.errors import Overloaded

Result = TypeVar("Result")

MAX_IN_FLIGHT = 64
"""Inputs of all jobs that are with the models at a time: enough to fill batches, few enough that
none waits longer than a model's runner lets it."""
MAX_RETRY_S = 600.0


class Backpressure:
    """Bounds the inputs that are in flight, and asks again where a model has no time.

    Args:
        max_in_flight: Most inputs at a time; a larger part goes alone.
        max_retry_s: How long a model that is overloaded or being restarted is asked again.
    """

    def __init__(
        self, max_in_flight: int = MAX_IN_FLIGHT, max_retry_s: float = MAX_RETRY_S
    ) -> None:
        self._max_in_flight = max_in_flight
        self._slots = asyncio.Semaphore(max_in_flight)
        self._acquire_lock = asyncio.Lock()
        self._max_retry_s = max_retry_s

    async def run(self, n_inputs: int, operation: Callable[[], Awaitable[Result]]) -> Result:
        """The answer for some inputs, when there is room for them.

        Raises:
            Overloaded: The model had no time for as long as there is patience.
        """
        async with self._reserve(min(n_inputs, self._max_in_flight)):
            since = time.monotonic()
            while True:
                try:
                    return await operation()
                except Overloaded as error:
                    if time.monotonic() - since >= self._max_retry_s:
                        raise
                    await asyncio.sleep(error.retry_after or 1)

    @asynccontextmanager
    async def _reserve(self, n_inputs: int) -> AsyncIterator[None]:
        taken = 0
        try:
            async with (
                self._acquire_lock
            ):  # one at a time, or several wait for what the others hold
                for _ in range(n_inputs):
                    await self._slots.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._slots.release()
