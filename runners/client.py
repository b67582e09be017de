"""The way from the front service to a runner."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import aiohttp
import httpx
from bentoml.exceptions import BentoMLException

from geobento.errors import InternalError, Overloaded
from models.execute import EncodeItem, EncodeResult

logger = logging.getLogger("geobento.runner")

LOST_CONNECTION = (aiohttp.ClientConnectionError, httpx.TransportError, ConnectionError)
"""What a call meets when the runner has closed an idle connection, or is being restarted."""
PAUSES_S = (0.0, 0.05, 0.2, 0.5, 1.0)


class RunnerClient:
    """Sends items to a runner; encoding is idempotent, so lost connections are tried again.

    Args:
        dependency: What ``bentoml.depends`` gave: a proxy of the runner, or the runner itself
            where all services share a process.
        batch: Most items in one call; more go in several calls at a time.
    """

    def __init__(self, dependency: Any, batch: int) -> None:
        self._dependency = dependency
        self._batch = batch

    async def encode(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        """One result per item, in order.

        Raises:
            Overloaded: The runner did not take the items in time.
            InternalError: The runner failed as a whole.
        """
        parts = [items[start : start + self._batch] for start in range(0, len(items), self._batch)]
        answered = await asyncio.gather(*(self._call(list(part)) for part in parts))
        return [result for part in answered for result in part]

    async def is_ready(self, timeout_s: int = 2) -> bool:
        """Whether the runner has loaded and warmed up its model."""
        probe = getattr(self._dependency, "is_ready", None)
        if probe is None:
            return True
        try:
            return bool(await asyncio.wait_for(probe(timeout_s), timeout_s + 1))
        except Exception as error:
            logger.debug("runner is not ready: %r", error)
            return False

    async def _call(self, items: list[EncodeItem]) -> list[EncodeResult]:
        for pause in PAUSES_S:
            await asyncio.sleep(pause)
            try:
                results: list[EncodeResult] = await self._dependency.to_async.encode(items)
                return results
            except LOST_CONNECTION as error:
                logger.debug("connection to the runner was lost: %r", error)
            except BentoMLException as error:
                if error.error_code.value in (429, 503, 504):
                    raise Overloaded("the model is overloaded", retry_after=1) from error
                logger.exception("the runner failed")
                raise InternalError("the model failed; the service log has more") from error
        raise Overloaded("the model is not available at the moment", retry_after=1)
