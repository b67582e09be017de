"""The same work, wanted by several threads at a time, done once."""

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
    """Whoever does the work was not done by the deadline."""


class _WorkerStopped(Exception):
    """Whoever did the work was stopped; somebody else has to do it."""


class SingleFlight(Generic[Result]):
    """Work under way, by key. What is done is forgotten: who comes later does it anew."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._flights: dict[str, Future[Result]] = {}

    def run(self, key: str, work: Callable[[], Result], deadline: float) -> Result:
        """The result or the error of the work that is under way for a key, or else of `work`.

        Args:
            key: What is the same for the same work.
            work: Done by the first who comes, in its own thread.
            deadline: Instant of `time.monotonic` until which others wait for it.

        Raises:
            TooLate: Somebody else does it and was not done by the deadline.
        """
        while True:
            with self._lock:
                flight = self._flights.get(key)
                if flight is None:
                    mine = self._flights[key] = Future()
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
        return self._run_work(key, work, mine)

    def _run_work(self, key: str, work: Callable[[], Result], flight: Future[Result]) -> Result:
        try:
            found = work()
        except Exception as error:
            self._remove(key)
            flight.set_exception(error)
            raise
        except BaseException:  # this thread is being stopped; the others go on
            self._remove(key)
            flight.set_exception(_WorkerStopped())
            raise
        self._remove(key)
        flight.set_result(found)
        return found

    def _remove(self, key: str) -> None:
        with self._lock:
            del self._flights[key]
