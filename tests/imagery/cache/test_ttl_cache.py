"""The cache of recent lists."""

from __future__ import annotations

import pytest

from imagery.cache.ttl_cache import TTLCache


def test_lists_expire() -> None:
    """A list is loaded once and again when its lifetime is over."""
    now = [0.0]
    cache = TTLCache[int](30, 100, lambda: now[0])
    calls: list[int] = []

    def load() -> list[int]:
        calls.append(1)
        return [len(calls)]

    assert [
        cache.get_or_load("a", load),
        cache.get_or_load("a", load),
        cache.get_or_load("b", load),
    ] == [[1], [1], [2]]
    now[0] = 29.9
    assert cache.get_or_load("a", load) == [1]
    now[0] = 30
    assert cache.get_or_load("a", load) == [3]


def test_the_total_length_is_bounded() -> None:
    """The least recently used lists go first; a list that exceeds the bound alone is not kept."""
    cache = TTLCache[int](30, 10)
    for key, size in (("a", 4), ("b", 2), ("c", 3)):
        cache.get_or_load(key, lambda size=size: [0] * size)  # type: ignore[misc]
    assert cache.get_or_load("b", list) == [0, 0]
    assert cache.get_or_load("a", list) == []
    assert cache.get_or_load("large", lambda: [1] * 20) == [1] * 20
    assert cache.get_or_load("large", list) == []


def test_an_empty_list_is_kept() -> None:
    """No result is a result."""
    cache = TTLCache[int](30, 10)
    assert cache.get_or_load("a", list) == []
    assert cache.get_or_load("a", lambda: [1]) == []


def test_errors_are_not_kept() -> None:
    """The call after a failure loads again."""
    cache = TTLCache[int](30, 10)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_load("a", lambda: [1 // 0])
    assert cache.get_or_load("a", lambda: [1]) == [1]
