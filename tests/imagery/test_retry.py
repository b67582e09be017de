"""Retries."""

from __future__ import annotations

import time

import pytest

from geobento.schemas.errors import SourceError
from imagery import retry
from imagery.retry import TransientError, with_retries


def failing(times: int, retry_after: float | None = None) -> tuple[list[int], object]:
    """Calls made so far, and an attempt that fails so often."""
    calls: list[int] = []

    def attempt() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise TransientError(SourceError(f"failure {len(calls)}"), retry_after)
        return "done"

    return calls, attempt


def test_temporary_failures_are_retried(waits: list[float]) -> None:
    """The first success counts, and there is a wait before every further attempt."""
    calls, attempt = failing(3)
    assert with_retries(attempt, time.monotonic() + 1000) == "done"  # type: ignore[arg-type]
    assert len(calls) == 4
    assert len(waits) == 3


def test_the_last_failure_is_named(waits: list[float]) -> None:
    """After all attempts the error of the last one is raised, with nothing slept after it."""
    calls, attempt = failing(100)
    with pytest.raises(SourceError, match=f"failure {retry.MAX_ATTEMPTS}"):
        with_retries(attempt, time.monotonic() + 1e6)  # type: ignore[arg-type]
    assert len(waits) == len(calls) - 1


def test_no_wait_leads_past_the_deadline(waits: list[float]) -> None:
    """If `Retry-After` is later than the deadline, the failure is raised at once."""
    calls, attempt = failing(5, retry_after=60)
    with pytest.raises(SourceError, match="failure 1"):
        with_retries(attempt, time.monotonic() + 50)  # type: ignore[arg-type]
    assert (len(calls), waits) == (1, [])


def test_permanent_failures_are_not_retried(waits: list[float]) -> None:
    """Any other error goes through."""
    calls = []

    def attempt() -> None:
        calls.append(1)
        raise SourceError("no")

    with pytest.raises(SourceError):
        with_retries(attempt, time.monotonic() + 1000)
    assert (len(calls), waits) == (1, [])
