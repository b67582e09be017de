"""More than the service can bear: ``python -m benchmarks.overload``.

Writes ``results/overload.json`` and ``results/overload.md``: its best throughput, and what is left
of it while many times as many requests arrive a second, from clients that come again when refused.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks import load, load_fixtures
from benchmarks.service import RunningServer, run_geobento


def measure_load(
    server: RunningServer,
    requests: list[bytes],
    verify: load.Verify,
    connections: int,
    seconds: float,
    pause_s: float,
) -> dict[str, Any]:
    """One row, printed."""
    result = uvloop.run(
        load.run(server.port, requests, connections, seconds, verify=verify, pause_s=pause_s)
    )
    p50, p99 = np.percentile(np.array(result.rejection_s or [0.0]) * 1000, (50, 99))
    row = {
        "connections": connections,
        "asked_per_s": round((len(result.latencies) + result.errors) / result.seconds, 1),
        **result.row(),
        "refused_p50_ms": round(float(p50), 1),
        "refused_p99_ms": round(float(p99), 1),
        "memory_mib": server.memory_mib(),
        **result.outcomes,
    }
    print(row, flush=True)
    return row


def measure_baseline(
    server: RunningServer, requests: list[bytes], verify: load.Verify, options: argparse.Namespace
) -> dict[str, Any]:
    """Its best, warm: taken before and after the strain, since the machine's speed drifts."""
    measure_load(server, requests, verify, options.in_flight, options.seconds / 4, 0.0)
    return measure_load(server, requests, verify, options.in_flight, options.seconds / 2, 0.0)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mosaiks")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--times", type=int, default=10)
    options = parser.parse_args()
    tag, request, judge = load_fixtures.prepare_load(options.model)
    settings = {"GEOBENTO_MODELS": tag, "GEOBENTO_MAX_CONCURRENT_REQUESTS": str(options.in_flight)}
    with (
        tempfile.TemporaryDirectory() as folder,
        run_geobento(Path(folder) / "log", **settings) as served,
    ):
        many = options.times * options.in_flight
        at_best = measure_baseline(served, request, judge, options)
        # So the connections, `times` as many, ask `times` as often as it answered at best.
        pause_s = options.in_flight / at_best["per_s"]
        measure_load(served, request, judge, many, options.seconds / 4, pause_s)
        under_strain = measure_load(served, request, judge, many, options.seconds, pause_s)
        rows = [at_best, under_strain, measure_baseline(served, request, judge, options)]
        best = (rows[0]["per_s"] + rows[2]["per_s"]) / 2
        under_strain["of_best"] = round(under_strain["per_s"] / best, 3)
    load_fixtures.write_results(rows, options.model, "overload")


if __name__ == "__main__":
    main()
