"""The table: rounds put together, ratios, order."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.comparison.table import COLUMNS, Run, merge_rows
from benchmarks.load import LoadResult


def run(
    server: str,
    latencies: list[float],
    *,
    connections: int = 4,
    size: str = "640x480",
    seconds: float = 2.0,
    errors: int = 0,
    wrong: int = 0,
    cosine: float = 0.9999,
    memory_mib: int = 1000,
) -> Run:
    """Half a second of processor time for each answer."""
    outcomes = Counter({"200": len(latencies) - wrong, "wrong": wrong, "500": errors})
    load = LoadResult(seconds=seconds, latencies=latencies, errors=errors, outcomes=outcomes)
    return Run(server, size, connections, load, len(latencies) / 2, memory_mib, cosine)


def test_rounds_are_one_long_run() -> None:
    """Answers and seconds of all rounds count alike; memory and cosine are the worst."""
    (row,) = merge_rows(
        [
            run("ours", [0.1] * 8, seconds=2, memory_mib=900, cosine=0.9995, errors=1),
            run("ours", [0.3] * 8, seconds=6, memory_mib=1100, wrong=2, errors=2),
        ],
        {"640x480": 4.0},
        "ours",
    )
    assert row["per_s"] == 2.0
    assert row["of_limit"] == 0.5
    assert (row["p50_ms"], row["p95_ms"], row["cpu_ms"]) == (200.0, 300.0, 500.0)
    assert (row["memory_mib"], row["cosine"]) == (1100, 0.9995)
    assert (row["errors"], row["wrong"]) == (3, 2)
    assert row["rounds_per_s"] == [4.0, 1.3]


def test_ratios_are_ours_by_theirs_under_the_same_load() -> None:
    """A peer stands beside this service with the same images and connections, nothing else."""
    result = merge_rows(
        [
            run("ours", [0.1] * 8, memory_mib=1500),
            run("ours", [0.9] * 2, connections=16),
            run("peer", [0.4] * 2),
            run("peer", [0.4] * 2, size="12MP"),
        ],
        {},
        "ours",
    )
    by_key = {(row["server"], row["size"], row["connections"]): row for row in result}
    peer = by_key["peer", "640x480", 4]
    assert (peer["ours_per_s"], peer["ours_p50"]) == (4.0, 0.25)
    assert (peer["ours_cpu"], peer["ours_memory"]) == (1.0, 1.5)
    assert "ours_per_s" not in by_key["peer", "12MP", 4]
    assert not any(name.startswith("ours") for name in by_key["ours", "640x480", 4])
    assert "of_limit" not in peer


def test_a_peer_that_answers_nothing_has_no_ratio() -> None:
    """A server whose every answer is an error does not end the run of the others."""
    result = merge_rows([run("ours", [0.1]), run("peer", [], errors=5)], {}, "ours")
    peer = next(row for row in result if row["server"] == "peer")
    assert peer["ours_per_s"] is None
    assert (peer["per_s"], peer["errors"], peer["wrong"]) == (0.0, 5, 0)


def test_rows_go_by_size_connections_and_server() -> None:
    """Those that are compared stand one below the other, whatever the order of the runs."""
    once = [
        run(server, [0.1], connections=connections, size=size)
        for server in ("ours", "a peer")
        for size in ("640x480", "12MP")
        for connections in (16, 1)
    ]
    result = merge_rows(once + once, {}, "ours")
    assert [(row["size"], row["connections"], row["server"]) for row in result] == [
        (size, connections, server)
        for size in ("640x480", "12MP")
        for connections in (1, 16)
        for server in ("ours", "a peer")
    ]


@pytest.mark.parametrize("limits", [{}, {"640x480": 4.0}])
def test_every_column_is_a_figure_of_a_row(limits: dict[str, float]) -> None:
    """No column of the table stays empty because of a name that no row has."""
    result = merge_rows([run("ours", [0.1]), run("peer", [0.1])], limits, "ours")
    known = {name for row in result for name in row}
    assert set(COLUMNS) - known == (set() if limits else {"of_limit"})
