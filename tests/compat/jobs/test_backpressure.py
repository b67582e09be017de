"""Backpressure between jobs and models."""

from __future__ import annotations

import asyncio

import pytest

from compat.jobs.backpressure import Backpressure
from geobento.schemas.errors import Overloaded

pytestmark = pytest.mark.anyio


async def test_inputs_in_flight_are_bounded() -> None:
    """Parts of any size take turns, none waits for ever, and the bound holds."""
    pace, running, seen = Backpressure(max_in_flight=10), 0, []

    async def ask(inputs: int) -> int:
        nonlocal running
        running += min(inputs, 10)
        seen.append(running)
        await asyncio.sleep(0.001)
        running -= min(inputs, 10)
        return inputs

    sizes = [1, 7, 6, 10, 25, 3, 3, 3, 9, 1, 1] * 3
    async with asyncio.timeout(20):
        result = await asyncio.gather(*(pace.run(n, lambda n=n: ask(n)) for n in sizes))  # type: ignore[misc]
    assert result == sizes
    assert max(seen) == 10


async def test_a_cancelled_part_frees_its_slot() -> None:
    """A part that is cancelled, while it waits or runs, frees its slot."""
    pace = Backpressure(max_in_flight=4)

    async def hang() -> None:
        await asyncio.sleep(600)

    tasks = [asyncio.create_task(pace.run(3, hang)) for _ in range(3)]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    async def quick() -> int:
        return 1

    async with asyncio.timeout(20):
        assert await pace.run(4, quick) == 1


async def test_an_overloaded_model_is_retried() -> None:
    """A job does not fail because the model is overloaded or restarts."""
    tries = 0

    async def busy() -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Overloaded("later", retry_after=0.01)
        return tries

    assert await Backpressure().run(1, busy) == 3


async def test_retries_end() -> None:
    """A model that stays overloaded is an error in the end."""

    async def busy() -> int:
        raise Overloaded("the model is overloaded", retry_after=0.01)

    with pytest.raises(Overloaded):
        await Backpressure(max_retry_s=0.05).run(1, busy)
