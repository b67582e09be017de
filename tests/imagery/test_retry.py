"""Trying again."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from geobento.errors import SourceError
from imagery import retry
from imagery.retry import Transient, delay, parse_retry_after, with_retries

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def failing(times: int, retry_after: float | None = None) -> tuple[list[int], object]:
    """Calls made so far, and an attempt that fails so often."""
    calls: list[int] = []

    def attempt() -> str:
        calls.append(len(calls))
        if len(calls) <= times:
            raise Transient(SourceError(f"failure {len(calls)}"), retry_after)
        return "done"

    return calls, attempt


def test_what_passes_is_tried_again(waits: list[float]) -> None:
    """The first success counts, and there is a wait before every further attempt."""
    calls, attempt = failing(3)
    assert with_retries(attempt, time.monotonic() + 1000) == "done"  # type: ignore[arg-type]
    assert len(calls) == 4
    assert len(waits) == 3


def test_the_last_failure_is_named(waits: list[float]) -> None:
    """After all attempts the error of the last one is raised, with nothing slept after it."""
    calls, attempt = failing(100)
    with pytest.raises(SourceError, match=f"failure {retry.ATTEMPTS}"):
        with_retries(attempt, time.monotonic() + 1e6)  # type: ignore[arg-type]
    assert len(waits) == len(calls) - 1


def test_no_wait_leads_past_the_deadline(waits: list[float]) -> None:
    """Where the server asks for more time than there is, the failure is raised at once."""
    calls, attempt = failing(5, retry_after=60)
    with pytest.raises(SourceError, match="failure 1"):
        with_retries(attempt, time.monotonic() + 50)  # type: ignore[arg-type]
    assert (len(calls), waits) == (1, [])


def test_what_is_final_is_not_tried_again(waits: list[float]) -> None:
    """Any other error goes through."""
    calls = []

    def attempt() -> None:
        calls.append(1)
        raise SourceError("no")

    with pytest.raises(SourceError):
        with_retries(attempt, time.monotonic() + 1000)
    assert (len(calls), waits) == (1, [])


def test_waits_grow_to_a_bound_and_keep_what_was_asked() -> None:
    """Full jitter: from nothing to twice as much each time, on top of Retry-After."""
    assert delay(0, None, 0) == 0
    assert [delay(number, None, 1) for number in range(3)] == [0.5, 1, 2]
    assert delay(50, None, 1) == retry.LONGEST_S
    assert delay(0, 7, 0) == 7
    assert delay(0, 7, 1) == 7.5


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3),
        ("Thu, 01 Jan 2026 00:00:09 GMT", 9),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("soon", None),
        ("-3", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """Both forms of the header; what is neither is not guessed at."""
    assert parse_retry_after(value, NOW) == seconds
