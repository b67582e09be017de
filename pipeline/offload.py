"""Runs CPU work of an event loop: inline if it is short, else in a thread.

A thread switch costs more than encoding one or two vectors. Longer work would block the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, TypeVarTuple, Unpack

import anyio.to_thread

Args = TypeVarTuple("Args")
Result = TypeVar("Result")

MAX_INLINE_ARRAYS = 4
MAX_INLINE_BYTES = 64 * 2**10


async def offload(
    arrays: Sequence[Any], function: Callable[[Unpack[Args]], Result], *args: *Args
) -> Result:
    """The result of a function; its exceptions propagate.

    Args:
        arrays: The data that it processes: few and small arrays run inline. Other objects have
            size zero.
        function: The function.
        args: Its arguments.
    """
    size = sum(getattr(array, "nbytes", 0) for array in arrays)
    if len(arrays) <= MAX_INLINE_ARRAYS and size <= MAX_INLINE_BYTES:
        return function(*args)
    return await anyio.to_thread.run_sync(function, *args)
