"""What was found a moment ago."""

from __future__ import annotations

import pytest

from imagery.cache.ttl_cache import TTLCache


def test_kept_for_a_while() -> None:
    """The second who asks gets what the first got, until it is too old."""
    now = [0.0]
    recent = TTLCache[int](30, 100, lambda: now[0])
    asked: list[int] = []

    def find() -> list[int]:
        asked.append(1)
        return [len(asked)]

    assert [
        recent.get_or_load("a", find),
        recent.get_or_load("a", find),
        recent.get_or_load("b", find),
    ] == [[1], [1], [2]]
    now[0] = 30
    assert recent.get_or_load("a", find) == [1]
    now[0] = 30.1
    assert recent.get_or_load("a", find) == [3]


def test_not_more_than_so_much() -> None:
    """The oldest go first, and what is too much by itself is not kept at all."""
    recent = TTLCache[int](30, 10)
    for key, size in (("a", 4), ("b", 2), ("c", 3)):
        recent.get_or_load(key, lambda size=size: [0] * size)  # type: ignore[misc]
    assert recent.get_or_load("b", list) == [0, 0]
    assert recent.get_or_load("a", list) == []
    assert recent.get_or_load("large", lambda: [1] * 20) == [1] * 20
    assert recent.get_or_load("large", list) == []


def test_errors_are_not_kept() -> None:
    """Who comes after a failure asks anew."""
    recent = TTLCache[int](30, 10)
    with pytest.raises(ZeroDivisionError):
        recent.get_or_load("a", lambda: [1 // 0])
    assert recent.get_or_load("a", lambda: [1]) == [1]
