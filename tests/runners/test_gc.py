"""What protects: requests of a process that has long been up wait for no full collection."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from runners import gc as runners_gc


class Node:
    other: Node


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_is_there_is_not_looked_at_again() -> None:
    cached = [Node() for _ in range(1000)]
    runners_gc.freeze_gc()
    assert gc.get_freeze_count() > len(cached)
    assert not any(each is cached for each in gc.get_objects())


def test_garbage_is_dropped_before_and_collected_after() -> None:
    def circle() -> weakref.ref[Node]:
        one, two = Node(), Node()
        one.other, two.other = two, one
        return weakref.ref(one)

    before = circle()
    runners_gc.freeze_gc()
    assert before() is None
    after = circle()
    gc.collect()
    assert after() is None
