"""Delays between retries."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

BASE_DELAY_S, MAX_DELAY_S = 0.5, 20.0
"""Maximum of the first delay; it doubles with each attempt, up to the second number."""


def backoff_s(attempt: int, retry_after: float | None, jitter: float) -> float:
    """Seconds to wait after an attempt: exponential backoff with full jitter. Pure.

    Args:
        attempt: Number of earlier attempts.
        retry_after: Seconds of the header ``Retry-After``, added to the delay.
        jitter: Random number from 0 to 1.
    """
    return (retry_after or 0.0) + jitter * min(MAX_DELAY_S, BASE_DELAY_S * 2.0**attempt)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """The header ``Retry-After``, seconds or a date, as seconds from now; None: not valid. Pure."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        retry_at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max((retry_at.replace(tzinfo=retry_at.tzinfo or UTC) - now).total_seconds(), 0.0)
