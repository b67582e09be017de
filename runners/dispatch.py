"""How BentoML's adaptive batching decides when a batch begins.

By itself it looks every millisecond whether the running batch has ended, and where it finds the
model idle it may hold back what is there, in the hope of more: by an estimate that one burst
spoils for all that comes after. Here a batch begins as soon as there is an item and the model is
free, with all that has come by then. Batches so grow with the load and nothing else.
"""

from __future__ import annotations

import logging

from bentoml._internal.marshal.dispatcher import CorkDispatcher

logger = logging.getLogger("geobento.runner")


async def controller(self: CorkDispatcher) -> None:  # type: ignore[type-arg]
    """Start one batch after the other; takes the place of the dispatcher's own loop."""
    while True:
        try:
            async with self._wake_event:
                await self._wake_event.wait_for(self._queue.__len__)
            self._sema.acquire()  # type: ignore[no-untyped-call]
            await self.outbound_call(tuple(self._get_inputs()))
        except Exception:
            logger.exception("a batch could not be begun")


def settle() -> None:
    """Have the runners of this process begin batches so."""
    CorkDispatcher.controller = controller  # type: ignore[method-assign]
