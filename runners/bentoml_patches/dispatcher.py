"""Patch: BentoML's adaptive batching starts a batch as soon as the model is free.

Upstream polls every millisecond for the end of the running batch. With an idle model it may hold
items back to wait for more, by an estimate that one burst distorts for all later requests. With the
patch a batch starts when there is an item and fewer than `concurrent_batches` are running, with all
items that have arrived by then. Batches grow with the load.

Written for BentoML 1.4.39 and 1.4.40: `CorkDispatcher.controller` and what it calls.
"""

from __future__ import annotations

import asyncio
import logging

from bentoml._internal.marshal.dispatcher import CorkDispatcher

logger = logging.getLogger("geobento.runner")


def patch_dispatcher(concurrent_batches: int) -> None:
    """Replace the controller of the dispatcher, for the runners of this process.

    Args:
        concurrent_batches: Batches computed at a time; BentoML needs as many threads.
    """

    async def controller(self: CorkDispatcher) -> None:  # type: ignore[type-arg]
        free = asyncio.Semaphore(concurrent_batches)
        running: set[asyncio.Task[None]] = set()

        def on_done(task: asyncio.Task[None]) -> None:
            running.discard(task)
            free.release()

        while True:
            await free.acquire()
            async with self._wake_event:
                await self._wake_event.wait_for(self._queue.__len__)
            try:
                jobs = tuple(self._get_inputs())
            except Exception:
                logger.exception("a batch could not be started")
                free.release()
                continue
            task = asyncio.create_task(self.outbound_call(jobs))
            running.add(task)
            task.add_done_callback(on_done)

    CorkDispatcher.controller = controller  # type: ignore[method-assign]
