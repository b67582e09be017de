"""A limiter that blocks threads until there is capacity."""

from __future__ import annotations

import threading
import time

import pytest

from pipeline.fetching.blocking_limiter import BlockingLimiter

LONG_S = 30.0


def test_callers_wait_in_order() -> None:
    """First in, first out, also where a smaller amount would fit; `on_change` sees every change."""
    heard: list[float] = []
    limiter = BlockingLimiter(4, heard.append)
    assert limiter.try_acquire(3)
    entered: list[float] = []
    threads = []

    def enter(amount: float) -> None:
        assert limiter.acquire(amount, LONG_S)
        entered.append(amount)

    for amount in (2.0, 1.0):
        thread = threading.Thread(target=enter, args=[amount])
        thread.start()
        threads.append(thread)
        while len(limiter._queue) < len(threads):
            time.sleep(0.001)
    assert not limiter.try_acquire(1)
    assert entered == []
    limiter.release(3)
    for thread in threads:
        thread.join(LONG_S)
    assert sorted(entered) == [1, 2]
    assert heard == [3, 0, 2, 3]


def test_an_amount_above_the_capacity_runs_alone() -> None:
    """It starts when nothing else is held, and then blocks all others."""
    limiter = BlockingLimiter(4)
    assert limiter.try_acquire(1)
    assert not limiter.try_acquire(9)
    limiter.release(1)
    assert limiter.try_acquire(9)
    assert not limiter.try_acquire(1)
    limiter.release(9)
    assert limiter.try_acquire(4)


@pytest.mark.parametrize("timeout_s", [0.0, 0.02])
def test_a_timeout_leaves_the_queue(timeout_s: float) -> None:
    """The next caller in the queue is not blocked by it."""
    limiter = BlockingLimiter(4)
    assert limiter.acquire(4, timeout_s)
    assert not limiter.acquire(1, timeout_s)
    limiter.release(4)
    assert limiter.try_acquire(4)
