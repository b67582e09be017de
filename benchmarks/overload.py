"""More than the service can bear: ``python -m benchmarks.overload``.

Writes ``results/overload.json`` and ``results/overload.md``: its best throughput, and what is left
of it under many times as many connections, of which those that are refused come back at once.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks import load, strain
from benchmarks.service import Served, geobento


def strained(
    served: Served,
    asked: list[bytes],
    judge: load.Judge,
    connections: int,
    seconds: float,
    pause_s: float,
) -> dict[str, Any]:
    """One row."""
    found = uvloop.run(
        load.run(served.port, asked, connections, seconds, judge=judge, pause_s=pause_s)
    )
    p50, p99 = np.percentile(np.array(found.refusals or [0.0]) * 1000, (50, 99))
    return {
        "connections": connections,
        **found.row(),
        "refused_p50_ms": round(float(p50), 1),
        "refused_p99_ms": round(float(p99), 1),
        "memory_mib": served.memory_mib(),
        **found.outcomes,
    }


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mosaiks")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--pause", type=float, default=1.0, help="after a refusal, seconds")
    chosen = parser.parse_args()
    tag, asked, judge = strain.prepared(chosen.model)
    rows: list[dict[str, Any]] = []
    settings = {"GEOBENTO_MODELS": tag, "GEOBENTO_MAX_REQUESTS_IN_FLIGHT": str(chosen.in_flight)}
    with (
        tempfile.TemporaryDirectory() as folder,
        geobento(Path(folder) / "log", **settings) as served,
    ):
        for connections in (chosen.in_flight, chosen.times * chosen.in_flight):
            for seconds in (chosen.seconds / 4, chosen.seconds):
                row = strained(served, asked, judge, connections, seconds, chosen.pause)
            rows.append(row)
            print(row, flush=True)
    strain.write(rows, chosen.model, "overload")


if __name__ == "__main__":
    main()
