"""What was found a moment ago."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

Item = TypeVar("Item")


class TTLCache(Generic[Item]):
    """Lists that are kept for a while under a key, the latest ones. Safe for several threads.

    Args:
        ttl_s: How long.
        max_items: Entries of all lists together.
        clock: The time, seconds.
    """

    def __init__(
        self, ttl_s: float, max_items: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl_s = ttl_s
        self._max_items = max_items
        self._clock = clock
        self._lock = Lock()
        self._entries: dict[str, tuple[float, list[Item]]] = {}

    def get_or_load(self, key: str, load: Callable[[], list[Item]]) -> list[Item]:
        """What is kept under a key, or else what is found now. Errors are not kept."""
        with self._lock:
            self._evict()
            if key in self._entries:
                return self._entries[key][1]
        asked, found = self._clock(), load()
        with self._lock:
            self._entries.pop(key, None)  # so that the newest come last
            self._entries[key] = asked, found
            self._evict()
        return found

    def _evict(self) -> None:
        """Drop what is too old, and of the rest the oldest where it is too much."""
        oldest = self._clock() - self._ttl_s
        for key, (asked, _) in list(self._entries.items()):
            size = sum(1 + len(found) for _, found in self._entries.values())
            if asked < oldest or size > self._max_items:
                del self._entries[key]
