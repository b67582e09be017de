"""How long to wait before the same thing is tried again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

BASE_DELAY_S, MAX_DELAY_S = 0.5, 20.0
"""The first wait is at most the former; each further one twice as long, up to the latter."""


def backoff_s(attempt: int, retry_after: float | None, jitter: float) -> float:
    """Seconds to wait after an attempt: full jitter, on top of what was asked for. Pure.

    Args:
        attempt: Attempts before this one.
        retry_after: Seconds that the other side asked to wait.
        jitter: 0 to 1.
    """
    return (retry_after or 0.0) + jitter * min(MAX_DELAY_S, BASE_DELAY_S * 2.0**attempt)


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
