"""Trying again what may succeed the next time, until a deadline."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from time import sleep
from typing import TypeVar

from geobento.backoff import backoff_s
from geobento.schemas.errors import GeoBentoError

T = TypeVar("T")

MAX_ATTEMPTS = 8


class TransientError(Exception):
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
    for number in range(MAX_ATTEMPTS):
        try:
            return attempt()
        except TransientError as failure:
            wait = backoff_s(number, failure.retry_after, random.random())
            if number == MAX_ATTEMPTS - 1 or time.monotonic() + wait >= deadline:
                raise failure.error from failure.__cause__
            sleep(wait)
    raise AssertionError("the last attempt returns or raises")
