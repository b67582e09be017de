"""How long to wait."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from geobento.backoff import MAX_DELAY_S, backoff_s, parse_retry_after

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_waits_grow_to_a_bound_and_keep_what_was_asked() -> None:
    """Full jitter: from nothing to twice as much each time, on top of Retry-After."""
    assert backoff_s(0, None, 0) == 0
    assert [backoff_s(number, None, 1) for number in range(3)] == [0.5, 1, 2]
    assert backoff_s(50, None, 1) == MAX_DELAY_S
    assert backoff_s(0, 7, 0) == 7
    assert backoff_s(0, 7, 1) == 7.5


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
