"""Every variant of every model alone, in its number formats: ``python -m benchmarks.models``.

Writes ``results/models.json`` and ``results/models.md``: items a second of the forward pass, at
the batch size that served best, the memory that a process with the model takes, and how far
bfloat16 turns the vectors (nothing, for models that compute in float32 alone). Weights are
random, so the cosine is a hint; with trained weights `geobento models import` measures it again.
Each measurement runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from benchmarks.images import RESULTS

if TYPE_CHECKING:
    from models.weights.stored_model import StoredModel

BATCHES = (1, 4, 16)
COMPARED_ITEMS = 4
"""Items whose vectors are compared."""
COLUMNS = [
    "model", "variant", "input", "batch", "float32_per_s", "bfloat16_per_s", "gain", "cosine",
    "float32_mib", "bfloat16_mib",
]  # fmt: skip


def measure(
    tag: str, modality: str, precision: str, seconds: float, batches: tuple[int, ...]
) -> dict[str, Any]:
    """Items a second at the best batch size, memory, and the vectors of some items."""
    from inference.loading import load_model
    from inference.types import EncodeItem
    from models.weights import store

    stored = store.get_model(tag)
    loaded = load_model(stored, precision=precision)  # type: ignore[arg-type]
    items = [
        EncodeItem(inputs=loaded.model.example_inputs(modality, seed=seed), pooling="native")
        for seed in range(max(*batches, COMPARED_ITEMS))
    ]
    best = {"per_s": 0.0, "batch": 0}
    for batch in batches:
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
    vectors = [result.data for result in loaded.run(items[:COMPARED_ITEMS])]
    memory = psutil.Process().memory_info().rss / 2**20
    return {**best, "mib": round(memory), "vectors": vectors}


def table_row(
    stored: StoredModel, modality: str, seconds: float, batches: tuple[int, ...]
) -> dict[str, Any]:
    """A line of the table: all formats of the model."""
    context = multiprocessing.get_context("spawn")
    result = {}
    card = stored.model().card
    for precision in card.precisions:
        with context.Pool(1) as pool:
            result[precision] = pool.apply(
                measure, (stored.tag, modality, precision, seconds, batches)
            )
    exact, rounded = result["float32"], result.get("bfloat16")
    line = dict.fromkeys(COLUMNS, "") | {
        "model": card.id,
        "variant": stored.metadata["variant"],
        "input": modality,
        "batch": (rounded or exact)["batch"],
        "float32_per_s": round(exact["per_s"], 2),
        "float32_mib": exact["mib"],
    }
    if rounded is None:
        return line
    cosines = [
        float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        for a, b in zip(exact["vectors"], rounded["vectors"], strict=True)
    ]
    return line | {
        "bfloat16_per_s": round(rounded["per_s"], 2),
        "gain": round(rounded["per_s"] / exact["per_s"], 2),
        "cosine": round(min(cosines), 5),
        "bfloat16_mib": rounded["mib"],
    }


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="*", help="ids; default: all")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--batches", nargs="*", type=int, default=BATCHES)
    options = parser.parse_args()
    from inference.importing import import_model
    from models.checkpoints.files import CheckpointError
    from models.registry import list_model_classes
    from models.weights import store

    rows = []
    for card, variant in (
        (cls.card, name) for cls in list_model_classes() for name in cls.card.variants
    ):
        if options.models and card.id not in options.models:
            continue
        learned = card.weights.source not in ("seeded", "none")
        try:
            stored = import_model(card.id, variant=variant, dummy=learned)
        except CheckpointError as error:
            print(f"left out: {error}", flush=True)
            continue
        for modality in stored.model().modalities():
            rows.append(table_row(stored, modality, options.seconds, tuple(options.batches)))
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
