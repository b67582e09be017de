"""Rate limit and concurrency limit of one API key."""

from __future__ import annotations

import pytest

from server.middleware.key_quota import KeyQuota, TokenBucket


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("rate", "at_once"), [(5, 5), (2.5, 2), (0.5, 1)])
def test_one_seconds_worth_at_once(rate: float, at_once: int) -> None:
    """At least one request, and no more after any pause."""
    clock = Clock()
    bucket = TokenBucket(rate, clock)
    for idle in (0, 1000):
        clock.now += idle
        granted = 0
        while bucket.acquire() == 0:
            granted += 1
        assert granted == at_once


@pytest.mark.parametrize("rate", [0.1, 1, 7])
def test_the_wait_that_is_said_is_enough(rate: float) -> None:
    """A request after that wait is accepted, one before it is not."""
    clock = Clock()
    bucket = TokenBucket(rate, clock)
    while not (wait := bucket.acquire()):
        pass
    clock.now += wait * 0.9
    assert bucket.acquire() > 0
    clock.now += wait * 0.1 + 1e-6
    assert bucket.acquire() == 0


def test_the_mean_is_the_rate() -> None:
    """Refusals cost nothing: asking all the time gives the rate and the first second's worth."""
    clock = Clock()
    bucket = TokenBucket(4, clock)
    granted = 0
    for _ in range(1000):
        granted += bucket.acquire() == 0
        clock.now += 0.01
    assert granted == pytest.approx(4 * 10 + 4, abs=1)


def test_a_refusal_for_requests_in_flight_takes_no_token() -> None:
    """The two limits do not eat each other."""
    allowance = KeyQuota(rate_limit=2, max_concurrency=1, clock=Clock())
    assert [allowance.acquire(), allowance.acquire()] == [0, 1]
    allowance.release()
    assert allowance.acquire() == 0
    allowance.release()
    assert allowance.acquire() > 0
    assert str(allowance) == "2 requests per second, 1 at a time"


def test_without_limits() -> None:
    """Any number."""
    allowance = KeyQuota(None, None)
    assert not any(allowance.acquire() for _ in range(1000))
