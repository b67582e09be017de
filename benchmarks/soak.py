"""Waves of connections with pauses: ``python -m benchmarks.soak``.

Writes ``results/soak.json`` and ``results/soak.md``: failures, wrong answers, and the memory of all
processes after the first round and at the end.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import load, load_fixtures
from benchmarks.service import run_geobento

WAVES = (1, 8, 128, 2, 32, 64, 16, 4)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mosaiks")
    parser.add_argument("--rounds", type=int, default=2, help="the first is the warm-up")
    parser.add_argument("--requests", type=int, default=0, help="rounds until so many are sent")
    parser.add_argument("--checkpoint", type=Path, help="with config.json; a small one is quick")
    parser.add_argument("--seconds", type=float, default=3, help="of a wave")
    parser.add_argument("--pause", type=float, default=6, help="between waves, seconds")
    options = parser.parse_args()
    tag, request, judge = load_fixtures.prepare_load(options.model, checkpoint=options.checkpoint)
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        run_geobento(Path(folder) / "log", GEOBENTO_MODELS=tag) as served,
    ):
        sent = 0
        for number in count():
            if number >= options.rounds and sent >= options.requests:
                break
            for connections in WAVES:
                result = uvloop.run(
                    load.run(served.port, request, connections, options.seconds, verify=judge)
                )
                sent += sum(result.outcomes.values())
                rows.append(
                    {
                        "round": number,
                        "connections": connections,
                        **result.row(),
                        "memory_mib": served.memory_mib(),
                        **result.outcomes,
                    }
                )
                print(rows[-1], flush=True)
                time.sleep(options.pause)
    load_fixtures.write_results(rows, options.model, "soak")
    failed = sum(row["errors"] for row in rows)
    print(f"{sent} requests, {failed} failed")
    warm, end = rows[len(WAVES) - 1]["memory_mib"], rows[-1]["memory_mib"]
    print(f"memory: {warm} MiB after the first round, {end} MiB at the end ({end / warm:.3f} x)")


if __name__ == "__main__":
    main()
