"""Batches spread over the cores of a process, each piece on one of them.

Torch by itself spreads every operation over all cores, and lets them wait for each other after
each. With a neighbour on one of the cores, a decoder for instance, all go at its pace. Pieces of
a batch wait for each other once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import TypeVar

PIECE = 8
"""Most items in a piece: more gain little, and pieces of one size end at different times."""

Result = TypeVar("Result")


def at_hand(device: str) -> int:
    """Cores that pieces may run on: torch's threads; one where a GPU does the work."""
    import torch

    return torch.get_num_threads() if device == "cpu" else 1


def pieces(batches: Sequence[Sequence[int]], cores: int) -> list[Sequence[int]]:
    """Batches cut so that every core has work; as they are where there are too few items.

    Args:
        batches: Positions of items that may share a forward.
        cores: Those at hand.
    """
    items = sum(map(len, batches))
    if cores == 1 or items < cores:
        return list(batches)
    most = min(PIECE, -(-items // cores))
    return [
        positions[start : start + size]
        for positions in batches
        for size in [_even(len(positions), most)]
        for start in range(0, len(positions), size)
    ]


def each(
    run: Callable[[Sequence[int]], Result], cut: Sequence[Sequence[int]], cores: int
) -> Iterator[Result]:
    """What comes of pieces, in their order.

    Args:
        run: The forward of a piece; must not raise.
        cut: Pieces of batches.
        cores: Those at hand. Fewer pieces than cores are run one after the other, on all.
    """
    if cores == 1 or len(cut) < cores:
        return map(run, cut)
    return _pool(cores).map(run, cut)


def _even(items: int, most: int) -> int:
    """Size of pieces of nearly the same size, of at most so many items."""
    count = -(-items // most)
    return -(-items // count)


@cache
def _pool(cores: int) -> ThreadPoolExecutor:
    """Threads in which torch uses one core each; all others keep theirs."""
    import torch

    begun = Barrier(cores + 1)

    def begin() -> None:
        torch.get_num_threads()  # or torch would later give the thread the number of the process
        torch.set_num_threads(1)
        begun.wait()

    pool = ThreadPoolExecutor(cores, "forward")
    for _ in range(cores):
        pool.submit(begin)
    begun.wait()
    torch.set_num_threads(cores)
    return pool
