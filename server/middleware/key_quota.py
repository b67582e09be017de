"""Quota of an API key: a rate limit, and a limit of concurrent requests."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """Token bucket. Its capacity is the tokens of one second, at least one.

    Args:
        rate: Tokens per second.
        clock: Monotonic clock, seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate)
        self._clock = clock
        self._tokens = self._capacity
        self._refilled_at = clock()

    def acquire(self) -> float:
        """Take a token. Returns 0, or if there is none the seconds until the next one."""
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._refilled_at) * self._rate)
        self._refilled_at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


class KeyQuota:
    """Limits of one key in this process.

    Args:
        rate_limit: Maximum requests per second; None: no limit.
        max_concurrency: Maximum concurrent requests; None: no limit.
        clock: Monotonic clock, seconds.
    """

    def __init__(
        self,
        rate_limit: float | None,
        max_concurrency: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate_limit = rate_limit
        self._bucket = None if rate_limit is None else TokenBucket(rate_limit, clock)
        self._max_concurrency = max_concurrency
        self._in_flight = 0

    def acquire(self) -> float:
        """Begin a request. Returns 0, or if a limit is reached the seconds until a retry."""
        if self._max_concurrency is not None and self._in_flight >= self._max_concurrency:
            return 1.0
        wait = self._bucket.acquire() if self._bucket is not None else 0.0
        self._in_flight += not wait
        return wait

    def release(self) -> None:
        """End a request."""
        self._in_flight -= 1

    def __str__(self) -> str:
        limits = []
        if self._rate_limit is not None:
            limits.append(f"{self._rate_limit:g} requests per second")
        if self._max_concurrency is not None:
            limits.append(f"{self._max_concurrency} at a time")
        return ", ".join(limits)
