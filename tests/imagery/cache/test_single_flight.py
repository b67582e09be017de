"""Concurrent calls for the same key share one call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

import pytest

from geobento.schemas.errors import NoImageryError, SourceError
from imagery.cache.single_flight import SingleFlight, WaitTimeout
from tests.imagery.conftest import LONG_S, Waiters


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads enough."""
    with ThreadPoolExecutor(16) as threads:
        yield threads


class Work:
    """Work that blocks until released; its outcomes in order, the last one repeated."""

    def __init__(self, *outcomes: int | BaseException) -> None:
        self._outcomes = outcomes
        self.begun, self.go = Event(), Event()
        self.done = 0

    def __call__(self) -> int:
        outcome = self._outcomes[min(self.done, len(self._outcomes) - 1)]
        self.done += 1
        self.begun.set()
        assert self.go.wait(LONG_S)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def share(flights: SingleFlight[int], work: Work, key: str = "a", seconds: float = LONG_S) -> int:
    return flights.run(key, work, time.monotonic() + seconds)


def together(pool: ThreadPoolExecutor, work: Work, waiters: Waiters) -> list[Future[int]]:
    """Ten threads that want the same work, of which one does it."""
    flights = SingleFlight[int]()
    requests = [pool.submit(share, flights, work) for _ in range(10)]
    waiters(9)
    work.go.set()
    return requests


def test_work_is_shared(pool: ThreadPoolExecutor, waiters: Waiters) -> None:
    """Ten at a time: one does it, all have the result."""
    work = Work(7)
    assert [each.result(LONG_S) for each in together(pool, work, waiters)] == [7] * 10
    assert work.done == 1


def test_an_error_is_shared(pool: ThreadPoolExecutor, waiters: Waiters) -> None:
    """Each has one of its own: what is written on it later stays with its request."""
    work = Work(NoImageryError("none", detail={"scenes": 0}))
    errors = [each.exception(LONG_S) for each in together(pool, work, waiters)]
    assert work.done == 1
    assert len({id(error) for error in errors}) == 10
    for error in errors:
        assert isinstance(error, NoImageryError)
        assert (error.message, error.detail) == ("none", {"scenes": 0})


def test_an_error_is_not_shared_with_later_callers() -> None:
    """Nothing is remembered, neither errors nor results."""
    flights, work = SingleFlight[int](), Work(SourceError("down"), ValueError("bad"), 1, 2)
    work.go.set()
    with pytest.raises(SourceError):
        share(flights, work)
    with pytest.raises(ValueError, match="bad"):
        share(flights, work)
    assert [share(flights, work), share(flights, work)] == [1, 2]


def test_each_caller_waits_to_its_own_deadline(pool: ThreadPoolExecutor, waiters: Waiters) -> None:
    """A timeout of one caller affects neither the work nor other callers."""
    flights, work = SingleFlight[int](), Work(7)
    first = pool.submit(share, flights, work)
    assert work.begun.wait(LONG_S)
    patient = pool.submit(share, flights, work)
    waiters(1)
    with pytest.raises(WaitTimeout):
        share(flights, work, seconds=0.05)
    work.go.set()
    assert (first.result(LONG_S), patient.result(LONG_S), work.done) == (7, 7, 1)


def test_different_work_does_not_wait(pool: ThreadPoolExecutor) -> None:
    """One that hangs stops no other."""
    flights, hanging, other = SingleFlight[int](), Work(1), Work(2)
    first = pool.submit(share, flights, hanging, "a")
    assert hanging.begun.wait(LONG_S)
    other.go.set()
    assert share(flights, other, "b") == 2
    hanging.go.set()
    assert first.result(LONG_S) == 1


def test_when_a_thread_is_stopped_another_goes_on(
    pool: ThreadPoolExecutor, waiters: Waiters
) -> None:
    """Control-C at one of them is not an answer for the others."""
    work = Work(KeyboardInterrupt(), 7)
    outcomes = [each.exception(LONG_S) or each.result() for each in together(pool, work, waiters)]
    assert sorted(map(repr, outcomes)) == ["7"] * 9 + ["KeyboardInterrupt()"]
