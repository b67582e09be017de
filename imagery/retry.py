"""Retries of transient failures, until a deadline."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from time import sleep
from typing import NoReturn, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from geobento.backoff import backoff_s
from geobento.schemas.errors import GeoBentoError

T = TypeVar("T")

MAX_ATTEMPTS = 8


class TransientError(Exception):
    """A failure that a retry may overcome.

    Args:
        error: Error to raise after the last attempt.
        retry_after: Seconds that the remote service asked to wait.
    """

    def __init__(self, error: GeoBentoError, retry_after: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after = retry_after


def with_retries(attempt: Callable[[], T], deadline: float) -> T:
    """The result of the first attempt that succeeds.

    Args:
        attempt: Raises `TransientError` to be retried. Other errors are final.
        deadline: Instant of `time.monotonic` after which no attempt starts.

    Raises:
        GeoBentoError: The error of the last attempt.
    """

    def is_last(state: RetryCallState) -> bool:
        next_attempt = time.monotonic() + state.upcoming_sleep
        return state.attempt_number >= MAX_ATTEMPTS or next_attempt >= deadline

    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        wait=_wait_s,
        stop=is_last,
        sleep=sleep,
        retry_error_callback=_raise_last_error,
    )
    return retrying(attempt)


def _wait_s(state: RetryCallState) -> float:
    """Exponential backoff with jitter, or the remote service's ``Retry-After``."""
    failure = _last_failure(state)
    retry_after = failure.retry_after if isinstance(failure, TransientError) else None
    return backoff_s(state.attempt_number - 1, retry_after, random.random())


def _raise_last_error(state: RetryCallState) -> NoReturn:
    failure = _last_failure(state)
    assert isinstance(failure, TransientError)
    raise failure.error from failure.__cause__


def _last_failure(state: RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()
