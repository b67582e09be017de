"""Work of the processor between awaits: where it is short here, else in a thread.

A change of thread and back costs more than to write down a vector or two. What takes longer would
keep all other requests waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, TypeVarTuple, Unpack

import anyio.to_thread

Given = TypeVarTuple("Given")
Found = TypeVar("Found")

FEW = 4
SHORT_BYTES = 64 * 2**10


async def aside(
    arrays: Sequence[Any], work: Callable[[Unpack[Given]], Found], *given: *Given
) -> Found:
    """What comes of the work; raises what it raises.

    Args:
        arrays: What it is about: few and small ones make it short. Others than arrays count
            nothing.
        work: Called with the rest.
        given: Its arguments.
    """
    size = sum(getattr(array, "nbytes", 0) for array in arrays)
    if len(arrays) <= FEW and size <= SHORT_BYTES:
        return work(*given)
    return await anyio.to_thread.run_sync(work, *given)
