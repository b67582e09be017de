"""Deduplication of concurrent calls with the same key."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from copy import copy
from threading import Lock
from typing import Generic, TypeVar

from geobento.schemas.errors import GeoBentoError

Result = TypeVar("Result")


class WaitTimeout(Exception):
    """The call in another thread did not finish before the deadline."""


class _WorkerStopped(Exception):
    """The thread of the call was stopped; another thread has to repeat the call."""


class SingleFlight(Generic[Result]):
    """Concurrent calls by key. Results are not kept: a later call does the work again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._flights: dict[str, Future[Result]] = {}

    def run(self, key: str, work: Callable[[], Result], deadline: float) -> Result:
        """The result or error of `work`, shared by concurrent calls with the same key.

        Args:
            key: Identifies the work.
            work: Run by the first caller, in its own thread. Other callers wait.
            deadline: Instant of `time.monotonic` until which other callers wait.

        Raises:
            WaitTimeout: Another thread does the work and did not finish before the deadline.
        """
        while True:
            with self._lock:
                flight = self._flights.get(key)
                if flight is None:
                    new_flight = self._flights[key] = Future()
                    break
            wait([flight], max(0.0, deadline - time.monotonic()))
            if not flight.done():
                raise WaitTimeout
            try:
                return flight.result()
            except _WorkerStopped:
                continue
            except GeoBentoError as error:
                raise copy(error) from error
        return self._run_work(key, work, new_flight)

    def _run_work(self, key: str, work: Callable[[], Result], flight: Future[Result]) -> Result:
        try:
            result = work()
        except Exception as error:
            self._remove(key)
            flight.set_exception(error)
            raise
        except BaseException:  # this thread is being stopped; waiting threads repeat the call
            self._remove(key)
            flight.set_exception(_WorkerStopped())
            raise
        self._remove(key)
        flight.set_result(result)
        return result

    def _remove(self, key: str) -> None:
        with self._lock:
            del self._flights[key]
