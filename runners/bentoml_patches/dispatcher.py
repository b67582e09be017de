"""How BentoML's adaptive batching decides when a batch begins.

By itself it looks every millisecond whether the running batch has ended, and where it finds the
model idle it may hold back what is there, in the hope of more: by an estimate that one burst
spoils for all that comes after. Here a batch begins as soon as there is an item and a lane of the
model is free, with all that has come by then. Batches so grow with the load and nothing else.
"""

from __future__ import annotations

import asyncio
import logging

from bentoml._internal.marshal.dispatcher import CorkDispatcher

logger = logging.getLogger("geobento.runner")


def patch_dispatcher(concurrent_batches: int) -> None:
    """Have the runners of this process begin batches so.

    Args:
        concurrent_batches: Batches under way at a time; as many threads BentoML must have for them.
    """

    async def controller(self: CorkDispatcher) -> None:  # type: ignore[type-arg]
        free = asyncio.Semaphore(concurrent_batches)
        under_way: set[asyncio.Task[None]] = set()

        def ended(task: asyncio.Task[None]) -> None:
            under_way.discard(task)
            free.release()

        while True:
            await free.acquire()
            async with self._wake_event:
                await self._wake_event.wait_for(self._queue.__len__)
            try:
                jobs = tuple(self._get_inputs())
            except Exception:
                logger.exception("a batch could not be begun")
                free.release()
                continue
            task = asyncio.create_task(self.outbound_call(jobs))
            under_way.add(task)
            task.add_done_callback(ended)

    CorkDispatcher.controller = controller  # type: ignore[method-assign]
