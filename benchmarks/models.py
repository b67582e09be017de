"""Every model alone, in both number formats: ``python -m benchmarks.models``.

Writes ``results/models.json`` and ``results/models.md``: items a second of the forward pass, at
the batch size that served best, the memory that a process with the model takes, and how far
bfloat16 turns the vectors. Weights are random, so the cosine is a hint; with trained weights
`geobento models import` measures it again. Each measurement runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from typing import Any

import numpy as np
import psutil

from benchmarks.images import RESULTS

BATCHES = (1, 4, 16)
COLUMNS = [
    "model", "variant", "input", "batch", "float32_per_s", "bfloat16_per_s", "gain", "cosine",
    "float32_mib", "bfloat16_mib",
]  # fmt: skip


def measured(tag: str, modality: str, precision: str, seconds: float) -> dict[str, Any]:
    """Items a second at the best batch size, memory, and the vectors of some items."""
    from models import store
    from models.execute import EncodeItem

    stored = store.find(tag)
    loaded = stored.load(precision=precision)  # type: ignore[arg-type]
    items = [
        EncodeItem(inputs=loaded.model.example_inputs(modality, seed=seed), pooling="authors")
        for seed in range(max(BATCHES))
    ]
    best = {"per_s": 0.0, "batch": 0}
    for batch in BATCHES:
        if batch > stored.model().card.max_batch_size:
            continue
        loaded.run(items[:batch])
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds or not done:
            loaded.run(items[:batch])
            done += batch
        per_s = done / (time.perf_counter() - start)
        if per_s > best["per_s"]:
            best = {"per_s": per_s, "batch": batch}
    vectors = [result.data for result in loaded.run(items[:4])]
    memory = psutil.Process().memory_info().rss / 2**20
    return {**best, "mib": round(memory), "vectors": vectors}


def row(tag: str, model: str, variant: str, modality: str, seconds: float) -> dict[str, Any]:
    """A line of the table: both formats."""
    context = multiprocessing.get_context("spawn")
    found = {}
    for precision in ("float32", "bfloat16"):
        with context.Pool(1) as pool:
            found[precision] = pool.apply(measured, (tag, modality, precision, seconds))
    exact, rounded = found["float32"], found["bfloat16"]
    cosines = [
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in zip(exact["vectors"], rounded["vectors"], strict=True)
    ]
    return {
        "model": model,
        "variant": variant,
        "input": modality,
        "batch": rounded["batch"],
        "float32_per_s": round(exact["per_s"], 2),
        "bfloat16_per_s": round(rounded["per_s"], 2),
        "gain": round(rounded["per_s"] / exact["per_s"], 2),
        "cosine": round(min(cosines), 5),
        "float32_mib": exact["mib"],
        "bfloat16_mib": rounded["mib"],
    }


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="*", help="ids; default: all")
    parser.add_argument("--seconds", type=float, default=4)
    chosen = parser.parse_args()
    from models import store
    from models.catalog import families
    from models.importing import import_model

    rows = []
    for cls in families():
        card = cls.card
        if chosen.models and card.id not in chosen.models:
            continue
        if "bfloat16" not in card.precisions:
            continue
        stored = import_model(card.id, dummy=True)
        for modality in stored.model().modalities():
            rows.append(
                row(stored.tag, card.id, stored.metadata["variant"], modality, chosen.seconds)
            )
            print(rows[-1], flush=True)
        store.remove(stored.tag)
    RESULTS.mkdir(exist_ok=True)
    about = {"cores": os.cpu_count()}
    (RESULTS / "models.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1))
    lines = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    lines += [f"| {' | '.join(str(line[name]) for name in COLUMNS)} |" for line in rows]
    (RESULTS / "models.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
