"""What was found a moment ago."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

Found = TypeVar("Found")


class Recent(Generic[Found]):
    """Lists that are kept for a while under a key, the latest ones. Safe for several threads.

    Args:
        seconds: How long.
        most: Entries of all lists together.
        clock: The time, seconds.
    """

    def __init__(
        self, seconds: float, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._lock = Lock()
        self._kept: dict[str, tuple[float, list[Found]]] = {}

    def get(self, key: str, find: Callable[[], list[Found]]) -> list[Found]:
        """What is kept under a key, or else what is found now. Errors are not kept."""
        with self._lock:
            self._forget()
            if key in self._kept:
                return self._kept[key][1]
        asked, found = self._clock(), find()
        with self._lock:
            self._kept.pop(key, None)  # so that the newest come last
            self._kept[key] = asked, found
            self._forget()
        return found

    def _forget(self) -> None:
        """Drop what is too old, and of the rest the oldest where it is too much."""
        oldest = self._clock() - self._seconds
        for key, (asked, _) in list(self._kept.items()):
            size = sum(1 + len(found) for _, found in self._kept.values())
            if asked < oldest or size > self._most:
                del self._kept[key]
