"""Batches spread over the cores of a process, each piece on one of them.

Torch by itself spreads every operation over all cores, and lets them wait for each other after
each. With a neighbour on one of the cores, a decoder for instance, all go at its pace. Pieces on
a core each wait for nobody: a core that is done takes what has come by then. Only what has the
process to itself is computed on all cores, so that who is alone is answered soonest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier, Lock
from typing import TypeVar

from inference import devices

PIECE = 8
"""Most items in a piece: more gain little, and pieces of one size end at different times."""

Piece = Sequence[int]
"""Positions of items that share a forward."""
Result = TypeVar("Result")


def lanes(device: str, processes: int) -> int:
    """Batches that each process of a runner works on at a time.

    Args:
        device: Where the forward passes run.
        processes: How many share the cores.
    """
    return devices.share(processes) if device == "cpu" else 1


def most_together(device: str, batch: int) -> int:
    """Most items to be sent in one call, so that no core waits while another has more to do.

    Args:
        device: Where the forward passes run.
        batch: Most items that the model takes in one forward.
    """
    return min(batch, PIECE) if device == "cpu" else batch


def pieces(batches: Sequence[Piece], cores: int) -> list[Piece]:
    """Batches cut so that every core has work, as far as there are items.

    Args:
        batches: Positions of items that may share a forward.
        cores: Those that have nothing to do.
    """
    most = min(PIECE, -(-sum(map(len, batches)) // cores))
    return [
        positions[start : start + size]
        for positions in batches
        for size in [_even(len(positions), most)]
        for start in range(0, len(positions), size)
    ]


class Cores:
    """The cores of a process; for any number of threads.

    Args:
        count: How many; one, too, where a GPU does the work.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        if count > 1:
            self._pool = _pool(count)
            self._leader = ThreadPoolExecutor(1, "together", _use, (count,))
        self._lock = Lock()
        self._busy = 0
        self._met = False

    def spread(
        self, run: Callable[[Piece], Result], batches: Sequence[Piece]
    ) -> list[tuple[Piece, Result]]:
        """Pieces of batches, and what came of each.

        All cores work together on fewer items than there are cores, if nothing else is under
        way, and nothing was beside what came last: else a neighbour is to be expected.

        Args:
            run: The forward of a piece; must not raise.
            batches: Positions of items that may share a forward.
        """
        if self._count == 1:
            return [(batch, run(batch)) for batch in batches]
        with self._lock:
            together = not (self._busy or self._met) and sum(map(len, batches)) < self._count
            free = max(1, self._count - self._busy)
            cut = list(batches) if together else pieces(batches, free)
            self._met = self._busy > 0
            self._busy += len(cut)
        try:
            if together:
                return self.together(lambda: [(batch, run(batch)) for batch in cut])
            return list(zip(cut, self._pool.map(run, cut), strict=True))
        finally:
            with self._lock:
                self._busy -= len(cut)

    def together(self, work: Callable[[], Result]) -> Result:
        """What comes of work that torch spreads over all cores.

        It is always the same thread that does it. Once a second one has led a team of OpenMP
        threads, there are more of them than cores, and they sleep wherever they wait for each
        other: a forward of a single picture takes a third more time, ever after.

        Args:
            work: Must not call this again.
        """
        if self._count == 1:
            return work()
        return self._leader.submit(work).result()


def at_hand(device: str) -> Cores:
    """Those of this process, as many as torch has threads; one where a GPU does the work."""
    import torch

    return _of_process(torch.get_num_threads() if device == "cpu" else 1)


@cache
def _of_process(count: int) -> Cores:
    return Cores(count)


def _even(items: int, most: int) -> int:
    """Size of pieces of nearly the same size, of at most so many items."""
    count = -(-items // most)
    return -(-items // count)


def _use(threads: int) -> None:
    """Have torch use so many in the calling thread; those that come later get as many."""
    import torch

    torch.get_num_threads()  # or torch would later give this thread the number of the process
    torch.set_num_threads(threads)


def _pool(cores: int) -> ThreadPoolExecutor:
    """Threads in which torch uses one core each; all others keep theirs."""
    begun = Barrier(cores + 1)

    def begin() -> None:
        _use(1)
        begun.wait()

    pool = ThreadPoolExecutor(cores, "forward")
    for _ in range(cores):
        pool.submit(begin)
    begun.wait()
    _use(cores)
    return pool
