"""The most that this machine can do for a model without any server: one process per core."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.synthetic_images import SIZES, make_jpegs
from geobento.config import settings

if TYPE_CHECKING:
    from geobento.schemas.sample import Sample
    from inference.types import EncodeItem
    from models.base import Model
    from models.weights.stored_model import StoredModel

BATCH = 32


def prepare_image(model: Model, encoded: bytes) -> EncodeItem:
    """From a JPEG to an input."""
    from inference.types import EncodeItem
    from pipeline.inputs import images

    inputs = model.prepare_image(images.decode_image(encoded, 64))
    return EncodeItem(inputs=inputs, pooling="native")


def prepare_region(model: Model, sample: Sample) -> EncodeItem:
    """From the pixels of a region to an input."""
    from inference.types import EncodeItem

    return EncodeItem(inputs=model.prepare(sample), pooling="native")


def precisions(stored: StoredModel) -> list[str]:
    """Number formats to look for the most in: float32, and what the service computes in."""
    from inference.loading import model_precision

    settings_to_try = ("float32", "auto", settings.get().precision)
    return sorted({model_precision(stored, name, "cpu") for name in settings_to_try})


def items_per_s(
    tag: str,
    precision: str,
    prepare: Callable[[Model, Any], EncodeItem],
    data: Sequence[Any],
    seconds: float,
) -> float:
    """Items a second, prepared by one of the functions above and encoded, all cores."""
    cores = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(cores)
    with context.Pool(cores, _set_barrier, (barrier,)) as pool:
        work = [(tag, precision, prepare, list(data), seconds)] * cores
        return sum(pool.map(_measure_core, work, chunksize=1))


def single_ms(
    tag: str,
    precision: str,
    prepare: Callable[[Model, Any], EncodeItem],
    data: Sequence[Any],
    seconds: float,
) -> float:
    """Time from one input to its vector, on all cores, nothing else going on: the median, ms."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_single, (tag, precision, prepare, list(data), seconds))


def _measure_single(
    tag: str,
    precision: str,
    prepare: Callable[[Model, Any], EncodeItem],
    data: list[Any],
    seconds: float,
) -> float:
    from inference.loading import load_model
    from models.weights import store

    loaded = load_model(store.get_model(tag), precision=precision)  # type: ignore[arg-type]
    loaded.warm_up()
    times: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        loaded.run([prepare(loaded.model, data[len(times) % len(data)])])
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def _set_barrier(barrier: object) -> None:
    globals()["_barrier"] = barrier


def _measure_core(
    work: tuple[str, str, Callable[[Model, Any], EncodeItem], list[Any], float],
) -> float:
    tag, precision, prepare, data, seconds = work
    import torch

    from inference.loading import load_model
    from models.weights import store

    torch.set_num_threads(1)
    stored = store.get_model(tag)
    loaded = load_model(stored, precision=precision)  # type: ignore[arg-type]
    model = loaded.model

    batch = [data[position % len(data)] for position in range(BATCH)]
    for result in loaded.run([prepare(model, each) for each in batch]):
        if result.error is not None:
            raise RuntimeError(f"an item failed in {precision}: {result.error}")
    globals()["_barrier"].wait()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        loaded.run([prepare(model, each) for each in batch])
        done += BATCH
    return done / (time.perf_counter() - start)


if __name__ == "__main__":
    for name in ("float32", "bfloat16"):
        print(
            name,
            items_per_s(sys.argv[1], name, prepare_image, make_jpegs(SIZES["640x480"], 32), 10),
        )
