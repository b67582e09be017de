"""What threads hold at a time."""

from __future__ import annotations

import threading
import time

import pytest

from pipeline.fetching.blocking_limiter import BlockingLimiter

LONG_S = 30.0


def test_who_wants_more_waits_in_order() -> None:
    """Nobody overtakes, also where a smaller amount would fit; all is told to who watches."""
    heard: list[float] = []
    room = BlockingLimiter(4, heard.append)
    assert room.try_acquire(3)
    entered: list[float] = []
    threads = []

    def enter(amount: float) -> None:
        assert room.acquire(amount, LONG_S)
        entered.append(amount)

    for amount in (2.0, 1.0):
        thread = threading.Thread(target=enter, args=[amount])
        thread.start()
        threads.append(thread)
        while len(room._queue) < len(threads):
            time.sleep(0.001)
    assert not room.try_acquire(1)
    assert entered == []
    room.release(3)
    for thread in threads:
        thread.join(LONG_S)
    assert sorted(entered) == [1, 2]
    assert heard == [3, 0, 2, 3]


def test_what_is_larger_than_the_whole_goes_alone() -> None:
    """When nothing else is there, and then it keeps others out."""
    room = BlockingLimiter(4)
    assert room.try_acquire(1)
    assert not room.try_acquire(9)
    room.release(1)
    assert room.try_acquire(9)
    assert not room.try_acquire(1)
    room.release(9)
    assert room.try_acquire(4)


@pytest.mark.parametrize("timeout_s", [0.0, 0.02])
def test_who_has_waited_enough_leaves_no_trace(timeout_s: float) -> None:
    """The next in the queue is not kept by it."""
    room = BlockingLimiter(4)
    assert room.acquire(4, timeout_s)
    assert not room.acquire(1, timeout_s)
    room.release(4)
    assert room.try_acquire(4)
