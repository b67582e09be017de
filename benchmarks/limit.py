"""The most that this machine can do for a model without any server: one process per core."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Sequence

from benchmarks.pictures import SIZES, jpegs

BATCH = 32


def images_per_s(tag: str, precision: str, data: Sequence[bytes], seconds: float) -> float:
    """Pictures a second from JPEG to vector, all cores."""
    cores = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(cores)
    with context.Pool(cores, _join, (barrier,)) as pool:
        work = [(tag, precision, list(data), seconds)] * cores
        return sum(pool.map(_core, work, chunksize=1))


def _join(barrier: object) -> None:
    globals()["_barrier"] = barrier


def _core(work: tuple[str, str, list[bytes], float]) -> float:
    tag, precision, data, seconds = work
    import torch

    from models import store
    from models.execute import EncodeItem
    from pipeline import pictures

    torch.set_num_threads(1)
    stored = store.find(tag)
    loaded = stored.load(precision=precision)  # type: ignore[arg-type]
    model = loaded.model

    def item(encoded: bytes) -> EncodeItem:
        inputs = model.prepare_picture(pictures.decode(encoded, 64))
        return EncodeItem(inputs=inputs, pooling="authors")

    batch = [data[position % len(data)] for position in range(BATCH)]
    loaded.run([item(encoded) for encoded in batch])
    globals()["_barrier"].wait()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        loaded.run([item(encoded) for encoded in batch])
        done += BATCH
    return done / (time.perf_counter() - start)


if __name__ == "__main__":
    for name in ("float32", "bfloat16"):
        print(name, images_per_s(sys.argv[1], name, jpegs(SIZES["640x480"], 32), 10))
