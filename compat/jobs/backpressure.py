"""How fast jobs are brought to the models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from geobento.schemas.errors import Overloaded

Answer = TypeVar("Answer")

IN_FLIGHT = 64
"""Inputs of all jobs that are with the models at a time: enough to fill batches, few enough that
none waits longer than a model's runner lets it."""
PATIENCE_S = 600.0


class Pace:
    """Bounds the inputs that are in flight, and asks again where a model has no time.

    Args:
        in_flight: Most inputs at a time; a larger part goes alone.
        patience_s: How long a model that is overloaded or being restarted is asked again.
    """

    def __init__(self, in_flight: int = IN_FLIGHT, patience_s: float = PATIENCE_S) -> None:
        self._most = in_flight
        self._free = asyncio.Semaphore(in_flight)
        self._first = asyncio.Lock()
        self._patience_s = patience_s

    async def ask(self, inputs: int, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer for some inputs, when there is room for them.

        Raises:
            Overloaded: The model had no time for as long as there is patience.
        """
        async with self._room(min(inputs, self._most)):
            since = time.monotonic()
            while True:
                try:
                    return await ask()
                except Overloaded as error:
                    if time.monotonic() - since >= self._patience_s:
                        raise
                    await asyncio.sleep(error.retry_after or 1)

    @asynccontextmanager
    async def _room(self, inputs: int) -> AsyncIterator[None]:
        taken = 0
        try:
            async with self._first:  # one at a time, or several wait for what the others hold
                for _ in range(inputs):
                    await self._free.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._free.release()
