"""Images over HTTP against the limit of the machine: ``python -m benchmarks.images``.

Writes ``results/images.json``, ``results/images.md`` and ``results/images.svg``. Weights are
random, images are invented; every answer is checked against float32.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import uvloop

from benchmarks import load, plot, roofline, verify
from benchmarks.service import RunningServer, run_geobento
from benchmarks.synthetic_images import SIZES, make_jpegs
from benchmarks.verify import Vector

if TYPE_CHECKING:
    from models.weights.stored_model import StoredModel

RESULTS = Path(__file__).parent / "results"
COUNT = 32
CONNECTIONS = (1, 4, 16, 64)
COLUMNS = (
    *("what", "size", "per_s", "of_limit", "p50_ms", "of_single", "p95_ms", "p99_ms", "errors"),
    *("cpu_ms", "memory_mib", "cosine"),
)


def make_requests(model: str, data: Sequence[bytes], form: str) -> list[bytes]:
    """One request per image, as a form or as JSON with base64."""
    if form == "multipart":
        return [
            load.multipart_request(
                "/image_embedding", {"model": model, "encoding": "base64"}, image
            )
            for image in data
        ]
    return [
        load.post_request(
            "/image_embedding",
            "application/json",
            orjson.dumps(
                {
                    "model": model,
                    "images": [base64.b64encode(image).decode()],
                    "encoding": "base64",
                }
            ),
        )
        for image in data
    ]


def measure(
    server: RunningServer,
    requests: Sequence[bytes],
    connections: int,
    seconds: float,
    verify: load.Verify = load.verify_status,
) -> tuple[dict[str, Any], load.LoadResult]:
    """One row of the table, after a short warm-up."""
    uvloop.run(load.run(server.port, requests, connections, seconds / 4))
    before = server.cpu_s()
    with server.peak_memory_mib() as peak_memory_mib:
        result = uvloop.run(load.run(server.port, requests, connections, seconds, verify=verify))
    row = result.row()
    answered = max(1, len(result.latencies))
    row["cpu_ms"] = round((server.cpu_s() - before) * 1000 / answered, 1)
    row["memory_mib"] = peak_memory_mib()
    return row, result


def min_cosine(result: load.LoadResult, expected: Sequence[Vector]) -> float:
    """Minimum cosine similarity of the responses to the float32 vectors."""
    cosines = [
        verify.cosine_similarity(verify.parse_vector(body), expected[position])
        for position, (status, body) in result.responses.items()
        if status == 200
    ]
    return min(cosines, default=float("nan"))


def reference_vectors(tag: str, data: Sequence[bytes]) -> list[Vector]:
    """Vectors in float32, computed in this process."""
    from inference.loading import load_model
    from inference.types import EncodeItem
    from models.weights import store
    from pipeline.inputs import images

    loaded = load_model(store.get_model(tag))
    return [
        loaded.run(
            [
                EncodeItem(
                    inputs=loaded.model.prepare_image(images.decode_image(image, 64)),
                    pooling="native",
                )
            ]
        )[0].data
        for image in data
    ]


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="open_clip_vit_b32")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3, help="results are medians")
    parser.add_argument("--sizes", nargs="*", default=["320x240", "640x480", "1280x960", "12MP"])
    parser.add_argument("--forms", nargs="*", default=["multipart", "base64"])
    parser.add_argument("--connections", nargs="*", type=int, default=list(CONNECTIONS))
    options = parser.parse_args()
    from inference.importing import import_model

    stored = import_model(options.model, dummy=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            data = make_jpegs(SIZES[size], COUNT)
            exact = reference_vectors(stored.tag, data)
            result: dict[str, list[dict[str, Any]]] = {}
            with run_geobento(Path(folder) / "log", GEOBENTO_MODELS=stored.tag) as served:
                for _ in range(options.rounds):
                    for row in run_round(served, stored, data, exact, options):
                        print(row, flush=True)
                        result.setdefault(row["what"], []).append({"size": size, **row})
            rows += [median_row(each) for each in result.values()]
    write_results(rows, options.model, "images")
    plot.draw(rows, RESULTS / "images.svg")


def run_round(
    server: RunningServer,
    stored: StoredModel,
    data: Sequence[bytes],
    expected: Sequence[Vector],
    options: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    """Measure the machine without a server, and right after it the service."""
    best, alone = 0.0, float("inf")
    for precision in roofline.precisions(stored):
        limit = roofline.items_per_s(
            stored.tag, precision, roofline.prepare_image, data, options.seconds
        )
        best = max(best, limit)
        single = roofline.single_ms(
            stored.tag, precision, roofline.prepare_image, data, options.seconds / 2
        )
        alone = min(alone, single)
        yield {
            "what": f"no server, {precision}",
            "per_s": round(limit, 1),
            "p50_ms": round(single, 1),
        }
    for form in options.forms:
        requests = make_requests(options.model, data, form)
        for connections in options.connections:
            row, result = measure(server, requests, connections, options.seconds)
            yield {
                "what": f"service, {form}, {connections} connections",
                "server": f"service, {form}",
                "connections": connections,
                **row,
                "of_limit": round(row["per_s"] / best, 3),
                **({"of_single": round(row["p50_ms"] / alone, 2)} if connections == 1 else {}),
                "cosine": round(min_cosine(result, expected), 5),
            }


def median_row(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Medians over rounds; the sum of errors, the minimum of cosines."""
    result = dict(rows[0])
    for name, value in rows[0].items():
        numbers = [row[name] for row in rows]
        if name in ("errors", "cosine"):
            result[name] = sum(numbers) if name == "errors" else min(numbers)
        elif isinstance(value, float):
            result[name] = round(statistics.median(numbers), 3)
    return result


def write_results(
    rows: list[dict[str, Any]], model: str, name: str, columns: Sequence[str] = COLUMNS
) -> None:
    """Write the JSON and the Markdown file of a benchmark."""
    RESULTS.mkdir(exist_ok=True)
    about = {"model": model, "machine": platform.machine(), "cores": os.cpu_count()}
    (RESULTS / f"{name}.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1))
    lines = [f"# {model}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(str(row.get(name, '')) for name in columns)} |" for row in rows]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
