"""Work of the processor between awaits: where it is short here, else in a thread.

A change of thread and back costs more than to write down a vector or two. What takes longer would
keep all other requests waiting.
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
    """What comes of the work; raises what it raises.

    Args:
        arrays: What it is about: few and small ones make it short. Others than arrays count
            nothing.
        function: Called with the rest.
        args: Its arguments.
    """
    size = sum(getattr(array, "nbytes", 0) for array in arrays)
    if len(arrays) <= MAX_INLINE_ARRAYS and size <= MAX_INLINE_BYTES:
        return function(*args)
    return await anyio.to_thread.run_sync(function, *args)
