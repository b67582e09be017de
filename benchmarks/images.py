"""Pictures over HTTP against the limit of the machine: ``python -m benchmarks.images``.

Writes ``results/images.json``, ``results/images.md`` and ``results/images.svg``. Weights are
random, pictures are invented; every answer is checked against float32.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from benchmarks import answers, limit, load, plot
from benchmarks.answers import Vector
from benchmarks.pictures import SIZES, jpegs
from benchmarks.service import Served, geobento

RESULTS = Path(__file__).parent / "results"
COUNT = 32
CONNECTIONS = (1, 4, 16, 64)
COLUMNS = (
    *("what", "size", "per_s", "of_limit", "p50_ms", "of_single", "p95_ms", "p99_ms", "errors"),
    *("cpu_ms", "memory_mib", "cosine"),
)


def requests(model: str, data: Sequence[bytes], form: str) -> list[bytes]:
    """One request per picture, as a form or as JSON with base64."""
    if form == "multipart":
        return [
            load.multipart("/image_embedding", {"model": model, "encoding": "base64"}, picture)
            for picture in data
        ]
    return [
        load.post(
            "/image_embedding",
            "application/json",
            orjson.dumps(
                {
                    "model": model,
                    "images": [base64.b64encode(picture).decode()],
                    "encoding": "base64",
                }
            ),
        )
        for picture in data
    ]


def measured(
    served: Served,
    asked: Sequence[bytes],
    connections: int,
    seconds: float,
    judge: load.Judge = load.status_alone,
) -> tuple[dict[str, Any], load.Load]:
    """One row of the table, after a short run that is not counted."""
    asyncio.run(load.run(served.port, asked, connections, seconds / 4))
    before = served.cpu_s()
    with served.peak_memory_mib() as peak_memory_mib:
        found = asyncio.run(load.run(served.port, asked, connections, seconds, judge=judge))
    row = found.row()
    answered = max(1, len(found.latencies))
    row["cpu_ms"] = round((served.cpu_s() - before) * 1000 / answered, 1)
    row["memory_mib"] = peak_memory_mib()
    return row, found


def least_cosine(found: load.Load, exact: Sequence[Vector]) -> float:
    """The smallest cosine between the answers and the vectors of float32."""
    cosines = [
        answers.cosine(answers.vector(body), exact[position])
        for position, (status, body) in found.answers.items()
        if status == 200
    ]
    return min(cosines, default=float("nan"))


def vectors(tag: str, data: Sequence[bytes]) -> list[Vector]:
    """The vectors in float32, in this process."""
    from models import store
    from models.execute import EncodeItem
    from pipeline import pictures

    loaded = store.find(tag).load()
    return [
        loaded.run(
            [
                EncodeItem(
                    inputs=loaded.model.prepare_picture(pictures.decode(picture, 64)),
                    pooling="authors",
                )
            ]
        )[0].data
        for picture in data
    ]


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="open_clip_vit_b32")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--sizes", nargs="*", default=["320x240", "640x480", "1280x960", "12MP"])
    parser.add_argument("--forms", nargs="*", default=["multipart", "base64"])
    parser.add_argument("--connections", nargs="*", type=int, default=list(CONNECTIONS))
    chosen = parser.parse_args()
    from models.importing import import_model

    stored = import_model(chosen.model, dummy=True)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in chosen.sizes:
            data = jpegs(SIZES[size], COUNT)
            exact = vectors(stored.tag, data)
            for precision in ("float32", "bfloat16"):
                most = limit.items_per_s(stored.tag, precision, limit.picture, data, chosen.seconds)
                row = {"what": f"one process, {precision}", "size": size, "per_s": round(most, 1)}
                rows.append(row)
                print(row, flush=True)
            alone = min(
                limit.single_ms(stored.tag, precision, limit.picture, data, chosen.seconds)
                for precision in ("float32", "bfloat16")
            )
            row = {"what": "one at a time, all cores", "size": size, "p50_ms": round(alone, 1)}
            rows.append(row)
            print(row, flush=True)
            log = Path(folder) / "log"
            with geobento(log, GEOBENTO_MODELS=stored.tag) as served:
                for form in chosen.forms:
                    asked = requests(chosen.model, data, form)
                    for connections in chosen.connections:
                        row, found = measured(served, asked, connections, chosen.seconds)
                        cosine = round(least_cosine(found, exact), 5)
                        row = {
                            "what": f"service, {form}, {connections} connections",
                            "server": f"service, {form}",
                            "connections": connections,
                            "size": size,
                            **row,
                            "of_limit": round(row["per_s"] / rows_limit(rows, size), 3),
                            **(
                                {"of_single": round(row["p50_ms"] / alone, 2)}
                                if connections == 1
                                else {}
                            ),
                            "cosine": cosine,
                        }
                        rows.append(row)
                        print(row, flush=True)
    write(rows, chosen.model, "images")
    plot.draw(rows, RESULTS / "images.svg")


def rows_limit(rows: Sequence[dict[str, Any]], size: str) -> float:
    """The best that one process per core did with inputs of a size."""
    return float(
        max(r["per_s"] for r in rows if r["size"] == size and r["what"].startswith("one process"))
    )


def write(
    rows: list[dict[str, Any]], model: str, name: str, columns: Sequence[str] = COLUMNS
) -> None:
    """Both files of a benchmark."""
    RESULTS.mkdir(exist_ok=True)
    about = {"model": model, "machine": platform.machine(), "cores": os.cpu_count()}
    (RESULTS / f"{name}.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1))
    lines = [f"# {model}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(str(row.get(name, '')) for name in columns)} |" for row in rows]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
