"""A process killed again and again under load: ``python -m benchmarks.kill``.

Writes ``results/kill.json`` and ``results/kill.md``. Allowed are right answers and refusals with
`Retry-After`; if the front is killed, also lost connections.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import load, load_fixtures
from benchmarks.service import RunningServer, run_geobento

WARMUP_S = 2.0
MAX_RECOVERY_S = 180.0


def kill_under_load(
    server: RunningServer,
    requests: Sequence[bytes],
    verify: load.Verify,
    connections: int,
    victim: str,
) -> dict[str, Any]:
    """One row: a kill during a load, which goes on until the service is ready again."""
    ready: list[float] = []
    was_false: list[bool] = []

    def kill() -> None:
        time.sleep(WARMUP_S)
        server.worker(victim).kill()
        start = time.monotonic()
        while time.monotonic() - start < MAX_RECOVERY_S:
            if server.is_ready() and (was_false or time.monotonic() - start > 2 * WARMUP_S):
                ready.append(time.monotonic() - start)
                return
            was_false.append(True)
            time.sleep(0.1)

    async def strained() -> load.LoadResult:
        result = load.LoadResult()
        while killer.is_alive() or not result.outcomes:
            part = await load.run(server.port, requests, connections, 1, verify=verify, pause_s=0.2)
            result.outcomes.update(part.outcomes)
            result.latencies.extend(part.latencies)
        return result

    killer = threading.Thread(target=kill)
    killer.start()
    result = uvloop.run(strained())
    killer.join()
    return {
        "victim": victim,
        "ready_s": round(ready[0], 1) if ready else None,
        "not_ready_seen": bool(was_false),
        "slowest_s": round(max(result.latencies, default=0.0), 1),
        **result.outcomes,
    }


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mosaiks")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--victim", default="runner_", help="`runner_` or `geobento`")
    options = parser.parse_args()
    tag, request, judge = load_fixtures.prepare_load(options.model)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        with run_geobento(Path(folder) / "log", GEOBENTO_MODELS=tag) as served:
            rows.append({"victim": "cold start", "ready_s": round(time.monotonic() - start, 1)})
            for _ in range(options.kills):
                rows.append(
                    kill_under_load(served, request, judge, options.connections, options.victim)
                )
                print(rows[-1], flush=True)
    load_fixtures.write_results(rows, options.model, "kill")


if __name__ == "__main__":
    main()
