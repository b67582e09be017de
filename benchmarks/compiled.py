"""A forward pass on one core in several ways: ``python -m benchmarks.compiled``.

Writes ``results/compiled.json`` and ``results/compiled.md``: milliseconds an item as torch's own
layers compute it, as the service does, and compiled by torch; and how long each way takes before
it has answered once for every size of a batch. Compiling wants a C++ compiler. Each way has a
process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from benchmarks import verify
from benchmarks.images import write_results

if TYPE_CHECKING:
    from inference.engine import LoadedModel

BATCHES = (1, 4, 8)
EAGER, SERVED, COMPILED = "torch's layers", "as served", "compiled"
ROWS = ((SERVED, "float32"), (EAGER, "bfloat16"), (SERVED, "bfloat16"), (COMPILED, "bfloat16"))


def measure(
    tag: str, mode: str, precision: str, batches: Sequence[int], seconds: float
) -> tuple[dict[str, Any], list[np.ndarray[Any, Any]]]:
    """A row of the table, and the vectors of the largest batch."""
    import torch

    from inference.engines import prepacking
    from inference.loading import load_model
    from inference.types import EncodeItem
    from models.weights import store

    torch.set_num_threads(1)
    start = time.perf_counter()
    with nullcontext() if mode == SERVED else mock.patch.object(prepacking, "prepack_layers"):
        loaded = load_model(store.get_model(tag), precision=precision)  # type: ignore[arg-type]
    if mode == COMPILED:
        compile_forward(loaded)
    modality = loaded.model.modalities()[0]
    items = [
        EncodeItem(inputs=loaded.model.example_inputs(modality, seed=seed), pooling="native")
        for seed in range(max(batches))
    ]
    for batch in batches:
        loaded.run(items[:batch])
    row = {"way": mode, "precision": precision, "first_s": round(time.perf_counter() - start, 1)}
    for batch in batches:
        times: list[float] = []
        while sum(times) < seconds:
            start = time.perf_counter()
            loaded.run(items[:batch])
            times.append(time.perf_counter() - start)
        row[f"ms_at_{batch}"] = round(1000 * statistics.median(times) / batch, 1)
    return row, [result.data for result in loaded.run(items)]


def compile_forward(loaded: LoadedModel) -> None:
    """Have torch compile the forward for each size of a batch, its weights as constants."""
    import torch
    import torch._inductor.config as inductor

    inductor.freezing = True
    forward = torch.compile(loaded.model.encode, dynamic=False)
    loaded.model.encode = forward  # type: ignore[method-assign]


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="remoteclip")
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES)
    parser.add_argument("--seconds", type=float, default=4, help="for each size of a batch")
    options = parser.parse_args()
    from inference.importing import import_model

    tag = import_model(options.model, dummy=True).tag
    rows: list[dict[str, Any]] = []
    exact: list[np.ndarray[Any, Any]] = []
    for way, precision in ROWS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            work = (tag, way, precision, options.batches, options.seconds)
            row, vectors = pool.apply(measure, work)
        exact = exact or vectors
        cosines = [verify.cosine_similarity(a, b) for a, b in zip(vectors, exact, strict=True)]
        rows.append({**row, "cosine": round(min(cosines), 5)})
        print(rows[-1], flush=True)
    write_results(rows, options.model, "compiled", list(rows[0]))


if __name__ == "__main__":
    main()
