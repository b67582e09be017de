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

from geobento.limiters import AdmissionLimiter
from geobento.observability import metrics, request_context
from geobento.schemas.errors import DeadlineExceeded, InternalError, Overloaded
from inference.types import EncodeItem, EncodeResult
from runners.batcher import DynamicBatcher

logger = logging.getLogger("geobento.runner")

CONNECTION_ERRORS = (aiohttp.ClientConnectionError, httpx.TransportError, ConnectionError)
"""What a call meets when the runner has closed an idle connection, or has died."""
RETRY_DELAYS_S = (0.0, 0.05, 0.2, 0.5, 1.0)
MAX_RUNNER_DEATHS = 2
"""Calls that a runner may leave unanswered after it began with them, before the items are
suspected of being the cause."""
IMMEDIATE_FAILURE_S = 0.1
"""A call that is lost sooner met a connection that was closed already."""
CALLS_PER_LANE = 4
"""Full calls for each lane of several processes: which of them gets a call is chance."""
PROBE_SHARE = 0.05
MAX_PROBE_S = 1.0
"""Share of the time left, and most of it, in which it is found out why there is no answer."""
RESTART_RETRY_AFTER_S = 5


class RunnerClient:
    """Sends items to a runner; encoding is idempotent, so lost calls are tried again.

    While a runner is being restarted its socket stays open, and calls wait in it.

    Args:
        dependency: What ``bentoml.depends`` gave: a proxy of the runner, or the runner itself
            where all services share a process.
        max_batch_size: Most items in one call; more go in several calls at a time.
        model_name: Name of the model in metrics.
        workers: Processes of the runner.
        concurrent_batches: Calls that each of them works on at a time.
        max_queue_size: Items that may wait; what is beyond is refused.
        input_limiter: Bound on the bytes of items, of all runners together.
    """

    def __init__(
        self,
        dependency: Any,
        max_batch_size: int,
        *,
        model_name: str = "",
        workers: int = 1,
        concurrent_batches: int = 1,
        max_queue_size: int = 4096,
        input_limiter: AdmissionLimiter | None = None,
    ) -> None:
        self._dependency = dependency
        self._max_batch_size = max_batch_size
        self._model_name = model_name
        # Beside those that are worked on the next, which need not wait while answers travel.
        inside = (
            concurrent_batches + 1
            if workers == 1
            else CALLS_PER_LANE * workers * concurrent_batches
        )
        self._max_calls = inside
        self._batcher = DynamicBatcher(
            self._send_batch,
            max_batch_size,
            min_concurrency=workers * concurrent_batches,
            max_concurrency=inside,
        )
        held = metrics.QUEUE_DEPTH.labels(model_name)
        self._item_limiter = AdmissionLimiter(
            inside * max_batch_size + max_queue_size, f"items for {model_name}", held.set
        )
        self._input_limiter = input_limiter or AdmissionLimiter(float("inf"), "inputs")
        self._is_answering = True

    async def encode(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        """One result per item, in order.

        Raises:
            Overloaded: Too much waits already, or the runner is being restarted.
            DeadlineExceeded: The request's time is over.
            InternalError: The runner failed as a whole.
        """
        deadline = request_context.deadline()
        with (
            self._item_limiter.hold(len(items)),
            self._input_limiter.hold(sum(map(_input_bytes, items))),
        ):
            parts = [
                items[start : start + self._max_batch_size]
                for start in range(0, len(items), self._max_batch_size)
            ]
            waiting = iter(enumerate(parts))
            answered: dict[int, list[EncodeResult]] = {}

            async def send() -> None:
                for number, part in waiting:
                    answered[number] = await self._call_before_deadline(part, deadline)

            if len(parts) <= 1:
                await send()
            else:
                await _gather_or_cancel([send() for _ in range(min(self._max_calls, len(parts)))])
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

    async def _call_before_deadline(
        self, items: Sequence[EncodeItem], deadline: float | None
    ) -> list[EncodeResult]:
        """The answer of a call, or within the deadline the reason why there is none."""
        if deadline is None:
            return await self._call_with_retries(items, None)
        left = max(0.0, deadline - time.time())
        last = min(PROBE_SHARE * left, MAX_PROBE_S)
        try:
            async with asyncio.timeout(left - last):
                return await self._call_with_retries(items, deadline)
        except TimeoutError:
            if self._is_answering and await self._is_up(last / 2):
                raise DeadlineExceeded(
                    "the model did not get to the request within the time that it may take"
                ) from None
            raise _restarting_error() from None

    async def _is_up(self, timeout_s: float) -> bool:
        try:
            return await asyncio.wait_for(self.is_ready(), timeout_s)
        except TimeoutError:
            return False

    async def _call_with_retries(
        self, items: Sequence[EncodeItem], deadline: float | None
    ) -> list[EncodeResult]:
        asked = request_context.current_request()
        update = {"deadline": deadline, "request_id": None if asked is None else asked.id}
        told = [item.model_copy(update=update) for item in items]
        deaths, lost = 0, False
        for pause in RETRY_DELAYS_S:
            await asyncio.sleep(pause)
            sent = time.time()
            try:
                results = await self._batcher.encode(told, isolated=lost)
                self._is_answering = True
                return results
            except CONNECTION_ERRORS as error:
                logger.debug("a call of %s was lost: %r", self._model_name, error)
                metrics.FAILED_RUNNER_CALLS.labels(self._model_name).inc()
                self._is_answering = False
                lost = True  # perhaps by an item of another request
                deaths += time.time() - sent > IMMEDIATE_FAILURE_S
                if deaths > MAX_RUNNER_DEATHS:
                    break
            except TimeoutError:  # of BentoML's client, where the request has no deadline
                self._is_answering = False
                break
            except BentoMLException as error:
                if error.error_code.value in (429, 503, 504):
                    raise Overloaded("the model is overloaded", retry_after=1) from error
                logger.exception("the runner failed")
                raise InternalError("the model failed; the service log has more") from error
        raise _restarting_error()

    async def _send_batch(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        sent = time.time()
        stamped = [item.model_copy(update={"sent_at": sent}) for item in items]
        results: list[EncodeResult] = await self._dependency.to_async.encode(stamped)
        return results


def _restarting_error() -> Overloaded:
    return Overloaded("the model is not available at the moment", retry_after=RESTART_RETRY_AFTER_S)


def _input_bytes(item: EncodeItem) -> int:
    return sum(getattr(value, "nbytes", 0) for value in item.inputs.values())


async def _gather_or_cancel(senders: Sequence[Any]) -> None:
    tasks = [asyncio.ensure_future(sender) for sender in senders]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
