"""From single runs to the table: rounds put together, this service against each peer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.load import LoadResult
from benchmarks.verify import OK

COLUMNS = (
    *("server", "size", "connections", "per_s", "of_limit", "p50_ms", "p95_ms", "p99_ms"),
    *("errors", "wrong", "cpu_ms", "memory_mib", "cosine"),
    *("ours_per_s", "ours_p50", "ours_cpu", "ours_memory"),
)
RATIOS = {
    "ours_per_s": "per_s",
    "ours_p50": "p50_ms",
    "ours_cpu": "cpu_ms",
    "ours_memory": "memory_mib",
}
"""Column -> the figure of this service divided by that of the row."""


@dataclass(frozen=True)
class Run:
    """One server under so many connections, in one round.

    Attributes:
        server: Its name.
        size: Of the images.
        connections: How many.
        load: What came of it.
        cpu_s: Processor time of the server's processes, seconds.
        memory_mib: The most that they held.
        cosine: The smallest between an answer and float32.
    """

    server: str
    size: str
    connections: int
    load: LoadResult
    cpu_s: float
    memory_mib: int
    cosine: float


def merge_rows(
    runs: Sequence[Run], rooflines: Mapping[str, float], baseline: str
) -> list[dict[str, Any]]:
    """The table, by size, connections and server, each in the order in which it first ran.

    Args:
        runs: All runs of all rounds.
        rooflines: Images a second without any server, by size.
        baseline: The server that the others are compared with.
    """
    by_key: dict[tuple[str, int, str], list[Run]] = {}
    servers = list(dict.fromkeys(run.server for run in runs))
    for run in sorted(runs, key=lambda run: servers.index(run.server)):
        by_key.setdefault((run.size, run.connections, run.server), []).append(run)
    result = {key: _merge_rounds(several, rooflines) for key, several in by_key.items()}
    for (size, connections, _), row in result.items():
        if row["server"] != baseline and (own := result.get((size, connections, baseline))):
            row |= {name: _ratio(own[figure], row[figure]) for name, figure in RATIOS.items()}
    sizes = list(dict.fromkeys(run.size for run in runs))
    return sorted(result.values(), key=lambda row: (sizes.index(row["size"]), row["connections"]))


def _merge_rounds(runs: Sequence[Run], rooflines: Mapping[str, float]) -> dict[str, Any]:
    """One row of all rounds: their answers as if of one long run."""
    first, loads = runs[0], [run.load for run in runs]
    whole = LoadResult(
        seconds=sum(load.seconds for load in loads),
        latencies=[latency for load in loads for latency in load.latencies],
        errors=sum(load.errors for load in loads),
    )
    right = sum(load.outcomes[OK] for load in loads)
    row = {
        "server": first.server,
        "size": first.size,
        "connections": first.connections,
        **whole.row(),
        "wrong": len(whole.latencies) - right,
        "cpu_ms": round(sum(run.cpu_s for run in runs) * 1000 / max(1, len(whole.latencies)), 1),
        "memory_mib": max(run.memory_mib for run in runs),
        "cosine": round(min(run.cosine for run in runs), 5),
        "rounds_per_s": [load.row()["per_s"] for load in loads],
    }
    limit = rooflines.get(first.size)
    return row if limit is None else row | {"of_limit": _ratio(row["per_s"], limit)}


def _ratio(figure: float, other: float) -> float | None:
    return round(figure / other, 3) if other else None
