"""What a process keeps for good, so that Python's garbage collector need not look at it again."""

from __future__ import annotations

import gc


def freeze_gc() -> None:
    """Count all there is as kept; to be called once, when a process has all that it works with.

    A full collection looks at every object of the libraries, for a tenth of a second or two, and
    no thread of the process does anything meanwhile.
    """
    gc.collect()
    gc.freeze()
