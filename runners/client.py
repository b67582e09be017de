"""The API server's client of a runner: bounds, deadlines and retries."""

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
"""Errors of a call if the runner has closed an idle connection, or has died."""
RETRY_DELAYS_S = (0.0, 0.05, 0.2, 0.5, 1.0)
MAX_RUNNER_DEATHS = 2
"""Calls that may be lost after the runner began them. After more, the items are suspected."""
IMMEDIATE_FAILURE_S = 0.1
"""A call that is lost sooner was sent on a closed connection."""
CALLS_PER_BATCH = 4
"""Full calls per concurrent batch, for several processes: the system spreads calls at random."""
PROBE_SHARE = 0.05
MAX_PROBE_S = 1.0
"""Share of the remaining time, and its maximum, to find out why there is no response."""
RESTART_RETRY_AFTER_S = 5


class RunnerClient:
    """Sends items to a runner. Encoding is idempotent, so lost calls are tried again.

    While a runner restarts, its socket stays open and calls wait in it.

    Args:
        dependency: Result of ``bentoml.depends``: a proxy of the runner, or the runner itself if
            all services share a process.
        max_batch_size: Maximum number of items in a call; more are sent in concurrent calls.
        model_name: Name of the model in metrics.
        workers: Processes of the runner.
        concurrent_batches: Batches that a process computes at a time.
        max_queue_size: Maximum number of waiting items; more are rejected.
        input_limiter: Bounds the bytes of items of all runners.
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
        # One call more than the runner computes, so that a batch is ready when another ends.
        self._max_calls = (
            concurrent_batches + 1
            if workers == 1
            else CALLS_PER_BATCH * workers * concurrent_batches
        )
        self._batcher = DynamicBatcher(
            self._send_batch,
            max_batch_size,
            min_concurrency=workers * concurrent_batches,
            max_concurrency=self._max_calls,
        )
        queue_depth = metrics.QUEUE_DEPTH.labels(model_name)
        self._item_limiter = AdmissionLimiter(
            self._max_calls * max_batch_size + max_queue_size,
            f"items for {model_name}",
            queue_depth.set,
        )
        self._input_limiter = input_limiter or AdmissionLimiter(float("inf"), "inputs")
        self._is_answering = True

    async def encode(self, items: Sequence[EncodeItem]) -> list[EncodeResult]:
        """One result per item, in order.

        Raises:
            Overloaded: The queue is full, or the runner restarts.
            DeadlineExceeded: The deadline of the request has passed.
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
            pending = iter(enumerate(parts))
            results: dict[int, list[EncodeResult]] = {}

            async def send() -> None:
                for number, part in pending:
                    results[number] = await self._call_before_deadline(part, deadline)

            if len(parts) <= 1:
                await send()
            else:
                await _gather_or_cancel([send() for _ in range(min(self._max_calls, len(parts)))])
            return [result for number in range(len(parts)) for result in results[number]]

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
        """The results of a call, or before the deadline the reason why there are none."""
        if deadline is None:
            return await self._call_with_retries(items, None)
        remaining_s = max(0.0, deadline - time.time())
        probe_s = min(PROBE_SHARE * remaining_s, MAX_PROBE_S)
        try:
            async with asyncio.timeout(remaining_s - probe_s):
                return await self._call_with_retries(items, deadline)
        except TimeoutError:
            if self._is_answering and await self._is_up(probe_s / 2):
                raise DeadlineExceeded(
                    "the model did not start on the request before its deadline"
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
        context = request_context.current_request()
        update = {"deadline": deadline, "request_id": None if context is None else context.id}
        labelled = [item.model_copy(update=update) for item in items]
        deaths, lost = 0, False
        for pause in RETRY_DELAYS_S:
            await asyncio.sleep(pause)
            sent = time.time()
            try:
                results = await self._batcher.encode(labelled, isolated=lost)
                self._is_answering = True
                return results
            except CONNECTION_ERRORS as error:
                logger.debug("a call of %s was lost: %r", self._model_name, error)
                metrics.FAILED_RUNNER_CALLS.labels(self._model_name).inc()
                self._is_answering = False
                lost = True  # an item of another request may be the cause
                deaths += time.time() - sent > IMMEDIATE_FAILURE_S
                if deaths > MAX_RUNNER_DEATHS:
                    break
            except TimeoutError:  # of BentoML's client; the request has no deadline
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
