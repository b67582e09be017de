"""A thread-safe cache of recent lists."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

import cachetools

Item = TypeVar("Item")


class TTLCache(Generic[Item]):
    """Lists under string keys, bounded in age and in total length. Thread-safe.

    Args:
        ttl_s: Lifetime of a list, seconds.
        max_items: Bound of the items of all lists. A list itself counts as one more item.
        clock: Monotonic time, seconds.
    """

    def __init__(
        self, ttl_s: float, max_items: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lock = Lock()
        self._entries: cachetools.TTLCache[str, list[Item]] = cachetools.TTLCache(
            max_items, ttl_s, timer=clock, getsizeof=lambda items: 1 + len(items)
        )

    def get_or_load(self, key: str, load: Callable[[], list[Item]]) -> list[Item]:
        """The cached list of a key, or the result of `load`, which is then cached.

        Errors of `load` are not cached, nor is a list that exceeds the bound alone. Concurrent
        misses of one key all call `load`.
        """
        with self._lock:
            items = self._entries.get(key)
        if items is not None:
            return items
        items = load()
        with self._lock:
            if 1 + len(items) <= self._entries.maxsize:
                self._entries[key] = items
        return items
