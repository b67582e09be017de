"""Batches spread over the cores of a process, one micro-batch per core.

Torch's intra-op threads synchronise after every operation, so one busy core, with an image decoder
for instance, slows all of them. Therefore each core runs micro-batches of its own with a single
torch thread, and takes the next one when it is done. Only a small batch in an idle process uses all
cores, for the lowest latency.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier, Lock
from typing import TypeVar

from inference import devices

MICRO_BATCH_SIZE = 8
"""Maximum number of items in a micro-batch. Larger ones gain little, and small ones of equal size
end at different times, so that cores are not idle together."""

MicroBatch = Sequence[int]
"""Positions of items that share a forward pass."""
Result = TypeVar("Result")


def concurrent_batches(device: str, processes: int) -> int:
    """Batches that each process of a runner works on at a time.

    Args:
        device: Device of the forward passes.
        processes: Processes that share the cores.
    """
    return devices.cores_per_process(processes) if device == "cpu" else 1


def max_items_per_call(device: str, max_batch_size: int) -> int:
    """Maximum number of items in one call to a runner.

    On a CPU one micro-batch, so that no core is idle while another has several.

    Args:
        device: Device of the forward passes.
        max_batch_size: Maximum number of items in one forward pass of the model.
    """
    return min(max_batch_size, MICRO_BATCH_SIZE) if device == "cpu" else max_batch_size


def micro_batches(batches: Sequence[MicroBatch], idle_cores: int) -> list[MicroBatch]:
    """Split batches so that every idle core has work, as far as there are items.

    Args:
        batches: Positions of items that may share a forward pass.
        idle_cores: Number of cores without work.
    """
    limit = min(MICRO_BATCH_SIZE, -(-sum(map(len, batches)) // idle_cores))
    return [
        positions[start : start + size]
        for positions in batches
        for size in [_even_size(len(positions), limit)]
        for start in range(0, len(positions), size)
    ]


class CpuPool:
    """The cores of a process. Thread-safe.

    Args:
        num_cores: Number of cores; 1 also if a GPU runs the forward passes.
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
        """Run batches; returns micro-batches with their results.

        Fewer items than cores run on all cores together if the process is idle, and if the previous
        call had no concurrent one either: otherwise more calls are to be expected.

        Args:
            run: Runs a micro-batch; must not raise.
            batches: Positions of items that may share a forward pass.
        """
        if self._num_cores == 1:
            return [(batch, run(batch)) for batch in batches]
        with self._lock:
            use_all_cores = (
                not (self._busy or self._had_concurrent_work)
                and sum(map(len, batches)) < self._num_cores
            )
            idle_cores = max(1, self._num_cores - self._busy)
            parts = list(batches) if use_all_cores else micro_batches(batches, idle_cores)
            self._had_concurrent_work = self._busy > 0
            self._busy += len(parts)
        try:
            if use_all_cores:
                return self.on_all_cores(lambda: [(part, run(part)) for part in parts])
            return list(zip(parts, self._pool.map(run, parts), strict=True))
        finally:
            with self._lock:
                self._busy -= len(parts)

    def on_all_cores(self, function: Callable[[], Result]) -> Result:
        """Call a function in the thread whose torch operations use all cores.

        It is always the same thread. Once a second thread leads a team of OpenMP threads, there are
        more threads than cores, and they sleep at every barrier: the forward pass of a single image
        takes a third more time from then on.

        Args:
            function: Must not call this method.
        """
        if self._num_cores == 1:
            return function()
        return self._all_cores_thread.submit(function).result()


def get_cpu_pool(device: str) -> CpuPool:
    """The pool of this process, with as many cores as torch has threads; 1 core for a GPU."""
    import torch

    return _cached_pool(torch.get_num_threads() if device == "cpu" else 1)


@cache
def _cached_pool(num_cores: int) -> CpuPool:
    return CpuPool(num_cores)


def _even_size(items: int, limit: int) -> int:
    """Size of the parts when items are split evenly into parts of at most `limit`."""
    count = -(-items // limit)
    return -(-items // count)


def _set_torch_threads(threads: int) -> None:
    """Set the number of torch threads of the calling thread, and of threads created later."""
    import torch

    torch.get_num_threads()  # without this, torch later resets the thread to the process's number
    torch.set_num_threads(threads)


def _single_core_threads(cores: int) -> ThreadPoolExecutor:
    """A pool of threads in which torch uses one core; other threads are not affected."""
    started = Barrier(cores + 1)

    def start() -> None:
        _set_torch_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(cores, "forward")
    for _ in range(cores):
        pool.submit(start)
    started.wait()
    _set_torch_threads(cores)
    return pool
