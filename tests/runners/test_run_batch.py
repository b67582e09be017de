"""What a runner does with its items."""

from __future__ import annotations

import time
from collections.abc import Sequence

from inference.types import EncodeItem, EncodeResult
from runners.run_batch import run_batch


def item(number: int, deadline: float | None) -> EncodeItem:
    """A numbered item."""
    return EncodeItem(
        inputs={"n": number}, pooling=None, deadline=deadline, sent_at=time.time() - 2
    )


def test_items_past_their_deadline_are_skipped() -> None:
    """They get an error in their place; the others are computed together, and say how long."""
    seen: list[int] = []

    def run(items: Sequence[EncodeItem]) -> list[EncodeResult]:
        seen.extend(one.inputs["n"] for one in items)
        return [EncodeResult(data=one.inputs["n"]) for one in items]

    now = time.time()
    results = run_batch(run, [item(0, now - 1), item(1, now + 60), item(2, None)], "m:v")
    assert seen == [1, 2]
    assert [result.data for result in results] == [None, 1, 2]
    assert results[0].error is not None
    assert results[0].error["error"]["type"] == "deadline_exceeded"
    assert all(result.queue_s >= 2 for result in results[1:])


def test_no_forward_pass_without_live_items() -> None:
    """No forward where all are late."""

    def run(items: Sequence[EncodeItem]) -> list[EncodeResult]:
        raise AssertionError

    (result,) = run_batch(run, [item(0, time.time() - 1)], "m:v")
    assert result.error is not None
