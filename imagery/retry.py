"""Trying again what may succeed the next time, until a deadline."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import sleep
from typing import TypeVar

from geobento.errors import GeoBentoError

T = TypeVar("T")

BASE_S, LONGEST_S = 0.5, 20.0
"""The first wait is at most the former; each further one twice as long, up to the latter."""
ATTEMPTS = 8


class Transient(Exception):
    """A failure that may pass.

    Args:
        error: What to raise when trying again did not help.
        retry_after: Seconds that the other side asked to wait.
    """

    def __init__(self, error: GeoBentoError, retry_after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after = retry_after


def with_retries(attempt: Callable[[], T], deadline: float) -> T:
    """The result of the first attempt that succeeds.

    Args:
        attempt: Raises `Transient` where it may be tried again; anything else is final.
        deadline: No attempt begins after this instant of `time.monotonic`.

    Raises:
        GeoBentoError: That of the last attempt.
    """
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except Transient as failure:
            wait = delay(number, failure.retry_after, random.random())
            if number == ATTEMPTS - 1 or time.monotonic() + wait >= deadline:
                raise failure.error from failure.__cause__
            sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def delay(number: int, retry_after: float | None, chance: float) -> float:
    """Seconds to wait after an attempt: full jitter, on top of what was asked for. Pure.

    Args:
        number: Attempts before this one.
        retry_after: Seconds that the other side asked to wait.
        chance: 0 to 1.
    """
    return (retry_after or 0.0) + chance * min(LONGEST_S, BASE_S * 2.0**number)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """The header ``Retry-After``, seconds or a date, as seconds from now; None: unusable. Pure."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        time_asked = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max((time_asked.replace(tzinfo=time_asked.tzinfo or UTC) - now).total_seconds(), 0.0)
