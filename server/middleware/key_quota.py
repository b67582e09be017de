"""How much one client may ask: a rate, and a number of requests at a time."""

from __future__ import annotations

import time
from collections.abc import Callable


class TokenBucket:
    """Grants so many a second on average; what was not used for a second may come at once.

    Args:
        rate: Grants per second.
        clock: Seconds that only grow.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate)
        self._clock = clock
        self._tokens = self._capacity
        self._refilled_at = clock()

    def acquire(self) -> float:
        """Take one: 0 where it was granted, or else the seconds until there is one."""
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + (now - self._refilled_at) * self._rate)
        self._refilled_at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


class KeyQuota:
    """What one client may do in this process.

    Args:
        rate_limit: Requests per second; None: any number.
        max_concurrency: Requests at a time; None: any number.
        clock: Seconds that only grow.
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
        """Begin a request: 0 where it may, or else the seconds after which to ask again."""
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
