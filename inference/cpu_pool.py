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

MICRO_BATCH_SIZE = 8
"""Most items in a piece: more gain little, and pieces of one size end at different times."""

MicroBatch = Sequence[int]
"""Positions of items that share a forward."""
Result = TypeVar("Result")


def concurrent_batches(device: str, processes: int) -> int:
    """Batches that each process of a runner works on at a time.

    Args:
        device: Where the forward passes run.
        processes: How many share the cores.
    """
    return devices.cores_per_process(processes) if device == "cpu" else 1


def max_items_per_call(device: str, max_batch_size: int) -> int:
    """Most items to be sent in one call, so that no core waits while another has more to do.

    Args:
        device: Where the forward passes run.
        max_batch_size: Most items that the model takes in one forward.
    """
    return min(max_batch_size, MICRO_BATCH_SIZE) if device == "cpu" else max_batch_size


def micro_batches(batches: Sequence[MicroBatch], idle_cores: int) -> list[MicroBatch]:
    """Batches cut so that every core has work, as far as there are items.

    Args:
        batches: Positions of items that may share a forward.
        idle_cores: Those that have nothing to do.
    """
    most = min(MICRO_BATCH_SIZE, -(-sum(map(len, batches)) // idle_cores))
    return [
        positions[start : start + size]
        for positions in batches
        for size in [_even_size(len(positions), most)]
        for start in range(0, len(positions), size)
    ]


class CpuPool:
    """The cores of a process; for any number of threads.

    Args:
        num_cores: How many; one, too, where a GPU does the work.
    """

    def __init__(self, num_cores: int) -> None:
        self._num_cores = num_cores
        if num_cores > 1:
            self._pool = _single_core_threads(num_cores)
            self._all_cores_thread = ThreadPoolExecutor(
                1, "all-cores", _set_torch_threads, (num_cores,)
            )
        self._lock = Lock()
        self._busy = 0
        self._had_concurrent_work = False

    def run_batches(
        self, run: Callable[[MicroBatch], Result], batches: Sequence[MicroBatch]
    ) -> list[tuple[MicroBatch, Result]]:
        """Pieces of batches, and what came of each.

        All cores work together on fewer items than there are cores, if nothing else is under
        way, and nothing was beside what came last: else a neighbour is to be expected.

        Args:
            run: The forward of a piece; must not raise.
            batches: Positions of items that may share a forward.
        """
        if self._num_cores == 1:
            return [(batch, run(batch)) for batch in batches]
        with self._lock:
            together = (
                not (self._busy or self._had_concurrent_work)
                and sum(map(len, batches)) < self._num_cores
            )
            free = max(1, self._num_cores - self._busy)
            cut = list(batches) if together else micro_batches(batches, free)
            self._had_concurrent_work = self._busy > 0
            self._busy += len(cut)
        try:
            if together:
                return self.on_all_cores(lambda: [(batch, run(batch)) for batch in cut])
            return list(zip(cut, self._pool.map(run, cut), strict=True))
        finally:
            with self._lock:
                self._busy -= len(cut)

    def on_all_cores(self, function: Callable[[], Result]) -> Result:
        """What comes of work that torch spreads over all cores.

        It is always the same thread that does it. Once a second one has led a team of OpenMP
        threads, there are more of them than cores, and they sleep wherever they wait for each
        other: a forward of a single picture takes a third more time, ever after.

        Args:
            function: Must not call this again.
        """
        if self._num_cores == 1:
            return function()
        return self._all_cores_thread.submit(function).result()


def get_cpu_pool(device: str) -> CpuPool:
    """Those of this process, as many as torch has threads; one where a GPU does the work."""
    import torch

    return _cached_pool(torch.get_num_threads() if device == "cpu" else 1)


@cache
def _cached_pool(num_cores: int) -> CpuPool:
    return CpuPool(num_cores)


def _even_size(items: int, limit: int) -> int:
    """Size of pieces of nearly the same size, of at most so many items."""
    count = -(-items // limit)
    return -(-items // count)


def _set_torch_threads(threads: int) -> None:
    """Have torch use so many in the calling thread; those that come later get as many."""
    import torch

    torch.get_num_threads()  # or torch would later give this thread the number of the process
    torch.set_num_threads(threads)


def _single_core_threads(cores: int) -> ThreadPoolExecutor:
    """Threads in which torch uses one core each; all others keep theirs."""
    begun = Barrier(cores + 1)

    def begin() -> None:
        _set_torch_threads(1)
        begun.wait()

    pool = ThreadPoolExecutor(cores, "forward")
    for _ in range(cores):
        pool.submit(begin)
    begun.wait()
    _set_torch_threads(cores)
    return pool
