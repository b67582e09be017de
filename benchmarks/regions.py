"""Regions over HTTP, with and without cache: ``python -m benchmarks.regions``.

Writes ``results/regions.json`` and ``results/regions.md``. The imagery is the demo archive, so that
a fetch is the reading of files on this machine; weights are random. The limit is preparation and
forward with all pixels in memory. Every answer is checked against float32.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from benchmarks import load, roofline
from benchmarks.images import CONNECTIONS, measure, median_row, min_cosine, write_results
from benchmarks.service import RunningServer, run_geobento
from geobento.config.settings import Settings
from geobento.schemas.errors import GeoBentoError
from geobento.schemas.requests import GeoEmbeddingRequest
from geobento.schemas.sample import Sample

if TYPE_CHECKING:
    from models.weights.stored_model import StoredModel

COUNT = 128
"""More than connections, so that no two requests have the same region at a time."""
CENTER = 34.066, -3.401
CACHES = {"off": ", no cache", "on": ", warm cache"}
STEP_DEG = 1e-4
"""Distance of neighbouring regions, degrees: about a pixel."""


def make_requests(model: str, buffer_m: float) -> list[dict[str, Any]]:
    """Overlapping regions, in June."""
    side = round(COUNT**0.5)
    return [
        {
            "model": model,
            "spatials": [
                {
                    "type": "PointBuffer",
                    "lon": round(CENTER[0] + STEP_DEG * (number % side - side / 2), 6),
                    "lat": round(CENTER[1] + STEP_DEG * (number // side - side / 2), 6),
                    "buffer_m": buffer_m,
                }
            ],
            "temporal": {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"},
            "backend": "demo",
            "encoding": "base64",
        }
        for number in range(COUNT)
    ]


def reference_data(
    tag: str, bodies: Sequence[dict[str, Any]], data_dir: Path
) -> tuple[list[Sample], list[np.ndarray[Any, Any]]]:
    """Pixels and float32 vectors, by this process; fills the cache."""
    from inference.engine import LoadedModel
    from inference.loading import load_model
    from models.weights import store
    from pipeline.engine import Engine
    from pipeline.inspection import map_plans
    from pipeline.model_registry import ModelHandle, ModelRegistry
    from pipeline.planning import temporal

    entry = store.get_model(tag)
    registry = ModelRegistry(
        [ModelHandle(entry.model(), entry.to_served_model(), "cpu", "float32")]
    )
    engine = Engine(registry, Settings(data_dir=data_dir))
    loaded: LoadedModel = load_model(entry, precision="float32")
    samples, vectors = [], []
    for body in bodies:
        _, _, plans = engine.plan_regions(GeoEmbeddingRequest.model_validate(body))
        (result,) = map_plans(plans, engine.fetcher.fetch_all)
        if isinstance(result, GeoBentoError):
            raise result
        sample = temporal.merge_samples(loaded.model.card, result)
        samples.append(sample)
        vectors.append(loaded.run([roofline.prepare_region(loaded.model, sample)])[0].data)
    return samples, vectors


def run_round(
    server: RunningServer,
    stored: StoredModel,
    requests: Sequence[bytes],
    samples: Sequence[Sample],
    expected: Sequence[np.ndarray[Any, Any]],
    options: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    """Measure the machine without a server, and right after it the service."""
    best = 0.0
    for precision in roofline.precisions(stored):
        limit = roofline.items_per_s(
            stored.tag, precision, roofline.prepare_region, samples, options.seconds
        )
        best = max(best, limit)
        yield {"what": f"no server, {precision}", "per_s": round(limit, 1)}
    for count in options.connections:
        row, result = measure(server, requests, count, options.seconds)
        yield {
            "what": f"service, {count} connections",
            **row,
            "of_limit": round(row["per_s"] / best, 3),
            "cosine": round(min_cosine(result, expected), 5),
        }


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mosaiks")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="results are medians")
    parser.add_argument("--buffers", nargs="*", type=float, default=[320, 1000], help="Metres.")
    parser.add_argument("--caches", nargs="*", choices=CACHES, default=list(CACHES))
    parser.add_argument("--connections", nargs="*", type=int, default=list(CONNECTIONS))
    options = parser.parse_args()
    from inference.importing import import_model

    stored = import_model(options.model, dummy=options.model != "mosaiks")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for buffer_m in options.buffers:
            bodies = make_requests(options.model, buffer_m)
            samples, exact = reference_data(stored.tag, bodies, Path(folder))
            size = "x".join(str(side) for side in samples[0].pixels.shape[-2:])
            requests = [
                load.post_request("/geo_embedding", "application/json", orjson.dumps(body))
                for body in bodies
            ]
            for cache in options.caches:
                result: dict[str, list[dict[str, Any]]] = {}
                environment = {
                    "GEOBENTO_MODELS": stored.tag,
                    "GEOBENTO_DATA_DIR": folder,
                    "GEOBENTO_CACHE": cache,
                }
                with run_geobento(Path(folder) / "log", **environment) as served:
                    for _ in range(options.rounds):
                        for row in run_round(served, stored, requests, samples, exact, options):
                            row["what"] += CACHES[cache] if "service" in row["what"] else ""
                            print(row, flush=True)
                            result.setdefault(row["what"], []).append({"size": size, **row})
                rows += [median_row(each) for each in result.values()]
    write_results(rows, options.model, "regions")


if __name__ == "__main__":
    main()
