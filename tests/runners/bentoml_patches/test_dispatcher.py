"""When a batch begins."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from bentoml._internal.marshal.dispatcher import CorkDispatcher

from runners.bentoml_patches import dispatcher as bentoml_patches_dispatcher


def test_a_batch_begins_when_the_model_is_free_with_all_that_is_there() -> None:
    """Nothing is held back for an idle model, not at first and not after a burst."""
    bentoml_patches_dispatcher.patch_dispatcher(1)

    async def go() -> None:
        batches: list[list[int]] = []
        free = asyncio.Semaphore(0)

        async def forward(jobs: tuple[Any, ...]) -> list[int]:
            batches.append([job.number for job in jobs])
            await free.acquire()
            if 13 in batches[-1]:
                raise ValueError("13")
            return batches[-1]

        dispatcher: Any = CorkDispatcher(
            60_000, 4, fallback=lambda: -1, get_batch_size=lambda job: 1
        )
        ask = dispatcher(forward)

        def send(number: int) -> asyncio.Task[int]:
            return asyncio.create_task(ask(SimpleNamespace(number=number)))

        async def settled() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        first = send(0)
        await settled()
        assert batches == [[0]]
        others = [send(number) for number in range(1, 7)]
        await settled()
        assert batches == [[0]]
        free.release()
        await settled()
        assert batches == [[0], [1, 2, 3, 4]]
        free.release()
        await settled()
        assert batches == [[0], [1, 2, 3, 4], [5, 6]]
        free.release()
        assert await asyncio.gather(first, *others) == list(range(7))

        for number in (13, 14):  # a batch that fails stops nothing
            single = send(number)
            await settled()
            assert batches[-1] == [number]
            free.release()
            await asyncio.wait([single])
            assert (single.exception() is None) == (number == 14)
        dispatcher.shutdown()

    asyncio.run(go())


def test_as_many_batches_at_a_time_as_there_are_lanes() -> None:
    """What comes while all are taken goes together when the first is free."""
    bentoml_patches_dispatcher.patch_dispatcher(2)

    async def go() -> None:
        batches: list[list[int]] = []
        ends: list[asyncio.Event] = []

        async def forward(jobs: tuple[Any, ...]) -> list[int]:
            own = [job.number for job in jobs]
            batches.append(own)
            ends.append(asyncio.Event())
            await ends[-1].wait()
            return own

        dispatcher: Any = CorkDispatcher(
            60_000, 8, fallback=lambda: -1, get_batch_size=lambda job: 1
        )
        ask = dispatcher(forward)
        requests = []
        for number in range(5):
            requests.append(asyncio.create_task(ask(SimpleNamespace(number=number))))
            for _ in range(20):
                await asyncio.sleep(0)
        assert batches == [[0], [1]]
        ends[1].set()
        assert await requests[1] == 1
        for _ in range(20):
            await asyncio.sleep(0)
        assert batches == [[0], [1], [2, 3, 4]]
        ends[0].set()
        ends[2].set()
        assert await asyncio.gather(*requests) == list(range(5))
        dispatcher.shutdown()

    asyncio.run(go())
