"""The way from the front service to a runner."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import httpx
from bentoml.exceptions import BentoMLException

from geobento.limiters import Budget
from geobento.observability import metrics, request_context
from geobento.schemas.errors import DeadlineExceeded, InternalError, Overloaded
from inference.batches import EncodeItem, EncodeResult
from runners.batcher import JointCalls

logger = logging.getLogger("geobento.runner")

LOST_CONNECTION = (aiohttp.ClientConnectionError, httpx.TransportError, ConnectionError)
"""What a call meets when the runner has closed an idle connection, or has died."""
PAUSES_S = (0.0, 0.05, 0.2, 0.5, 1.0)
MOST_DEATHS = 2
"""Calls that a runner may leave unanswered after it began with them, before the items are
suspected of being the cause."""
AT_ONCE_S = 0.1
"""A call that is lost sooner met a connection that was closed already."""
CALLS_INSIDE_EACH = 4
"""Full calls for each lane of several processes: which of them gets a call is chance."""
LAST_WORD = 0.05
LAST_WORD_S = 1.0
"""Share of the time left, and most of it, in which it is found out why there is no answer."""
RESTART_S = 5


class RunnerClient:
    """Sends items to a runner; encoding is idempotent, so lost calls are tried again.

    While a runner is being restarted its socket stays open, and calls wait in it.

    Args:
        dependency: What ``bentoml.depends`` gave: a proxy of the runner, or the runner itself
            where all services share a process.
        batch: Most items in one call; more go in several calls at a time.
        name: Name of the model in metrics.
        workers: Processes of the runner.
        lanes: Calls that each of them works on at a time.
        max_waiting: Items that may wait; what is beyond is refused.
        inputs: Bound on the bytes of items, of all runners together.
    """

    def __init__(
        self,
        dependency: Any,
        batch: int,
        *,
        name: str = "",
        workers: int = 1,
        lanes: int = 1,
        max_waiting: int = 4096,
        inputs: Budget | None = None,
    ) -> None:
        self._dependency = dependency
        self._batch = batch
        self._name = name
        # Beside those that are worked on the next, which need not wait while answers travel.
        inside = lanes + 1 if workers == 1 else CALLS_INSIDE_EACH * workers * lanes
        self._inside = inside
        self._calls = JointCalls(self._send, batch, eager=workers * lanes, most=inside)
        held = metrics.HELD_ITEMS.labels(name)
        self._items = Budget(inside * batch + max_waiting, f"items for {name}", held.set)
        self._inputs = inputs or Budget(float("inf"), "inputs")
        self._answers = True

    async def encode(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        """One result per item, in order.

        Raises:
            Overloaded: Too much waits already, or the runner is being restarted.
            DeadlineExceeded: The request's time is over.
            InternalError: The runner failed as a whole.
        """
        deadline = request_context.deadline()
        with self._items.held(len(items)), self._inputs.held(sum(map(_size, items))):
            parts = [
                items[start : start + self._batch] for start in range(0, len(items), self._batch)
            ]
            waiting = iter(enumerate(parts))
            answered: dict[int, list[EncodeResult]] = {}

            async def send() -> None:
                for number, part in waiting:
                    answered[number] = await self._in_time(part, deadline)

            if len(parts) <= 1:
                await send()
            else:
                await _together([send() for _ in range(min(self._inside, len(parts)))])
            return [result for number in range(len(parts)) for result in answered[number]]

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

    async def _in_time(
        self, items: Sequence[EncodeItem], deadline: float | None
    ) -> list[EncodeResult]:
        """The answer of a call, or within the deadline the reason why there is none."""
        if deadline is None:
            return await self._call(items, None)
        left = max(0.0, deadline - time.time())
        last = min(LAST_WORD * left, LAST_WORD_S)
        try:
            async with asyncio.timeout(left - last):
                return await self._call(items, deadline)
        except TimeoutError:
            if self._answers and await self._is_up(last / 2):
                raise DeadlineExceeded(
                    "the model did not get to the request within the time that it may take"
                ) from None
            raise _restarting() from None

    async def _is_up(self, within_s: float) -> bool:
        try:
            return await asyncio.wait_for(self.is_ready(), within_s)
        except TimeoutError:
            return False

    async def _call(
        self, items: Sequence[EncodeItem], deadline: float | None
    ) -> list[EncodeResult]:
        asked = request_context.get()
        update = {"deadline": deadline, "request": None if asked is None else asked.id}
        told = [item.model_copy(update=update) for item in items]
        deaths, lost = 0, False
        for pause in PAUSES_S:
            await asyncio.sleep(pause)
            sent = time.time()
            try:
                results = await self._calls.encode(told, alone=lost)
                self._answers = True
                return results
            except LOST_CONNECTION as error:
                logger.debug("a call of %s was lost: %r", self._name, error)
                metrics.LOST.labels(self._name).inc()
                self._answers = False
                lost = True  # perhaps by an item of another request
                deaths += time.time() - sent > AT_ONCE_S
                if deaths > MOST_DEATHS:
                    break
            except TimeoutError:  # of BentoML's client, where the request has no deadline
                self._answers = False
                break
            except BentoMLException as error:
                if error.error_code.value in (429, 503, 504):
                    raise Overloaded("the model is overloaded", retry_after=1) from error
                logger.exception("the runner failed")
                raise InternalError("the model failed; the service log has more") from error
        raise _restarting()

    async def _send(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        sent = time.time()
        stamped = [item.model_copy(update={"sent": sent}) for item in items]
        results: list[EncodeResult] = await self._dependency.to_async.encode(stamped)
        return results


def _restarting() -> Overloaded:
    return Overloaded("the model is not available at the moment", retry_after=RESTART_S)


def _size(item: EncodeItem) -> int:
    return sum(getattr(value, "nbytes", 0) for value in item.inputs.values())


async def _together(senders: Sequence[Any]) -> None:
    tasks = [asyncio.ensure_future(sender) for sender in senders]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
