"""Models without a runner: a precomputed model has no forward pass."""

from __future__ import annotations

from collections.abc import Sequence

import anyio.to_thread

from inference.engine import LoadedModel
from inference.types import EncodeItem, EncodeResult


class InProcessEncoder:
    """Encodes in this process, in place of a runner.

    A runner would only hold torch in memory, and grids of one vector per pixel would be sent to it
    and back.

    Args:
        loaded: The model.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded

    async def encode(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        """One result per item, in order."""
        return await anyio.to_thread.run_sync(self._loaded.run, items)

    async def is_ready(self) -> bool:
        """Always: the model is loaded."""
        return True
