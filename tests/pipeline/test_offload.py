"""Short work runs on the event loop, long work in a thread."""

from __future__ import annotations

import threading

import anyio
import numpy as np
import pytest

from pipeline.offload import MAX_INLINE_ARRAYS, MAX_INLINE_BYTES, offload

SMALL, LARGE = np.zeros(512, np.float32), np.zeros(MAX_INLINE_BYTES, np.uint8)


@pytest.mark.parametrize(
    ("arrays", "is_short"),
    [
        ([], True),
        ([None], True),
        ([SMALL], True),
        ([LARGE], True),
        ([SMALL] * MAX_INLINE_ARRAYS, True),
        ([SMALL] * (MAX_INLINE_ARRAYS + 1), False),
        ([LARGE, SMALL], False),
        ([None] * (MAX_INLINE_ARRAYS + 1), False),
    ],
)
def test_where_work_is_done(arrays: list[object], is_short: bool) -> None:
    """In this thread for few small arrays; arguments and result are the same."""

    async def run() -> tuple[int, str]:
        return await offload(arrays, lambda word: (threading.get_ident(), word), "word")

    thread, word = anyio.run(run)
    assert word == "word"
    assert (thread == threading.get_ident()) is is_short


@pytest.mark.parametrize("count", [1, MAX_INLINE_ARRAYS + 1])
def test_exceptions(count: int) -> None:
    """They reach the caller from either thread."""
    with pytest.raises(ZeroDivisionError):
        anyio.run(offload, [SMALL] * count, lambda: 1 // 0)
