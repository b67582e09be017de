"""The plot: which rows are points, which the limit, and what is in the file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import plot

ROWS = [
    {"server": "one process, float32", "size": "640x480", "per_s": 20.0},
    {"server": "one process, bfloat16", "size": "640x480", "per_s": 35.0},
    {"server": "here", "size": "640x480", "connections": 16, "per_s": 26.5},
    {"server": "here", "size": "640x480", "connections": 1, "per_s": 15.0},
    {"server": "there", "size": "640x480", "connections": 1, "per_s": 9.0},
    {"server": "here", "size": "12MP", "connections": 1, "per_s": 3.0},
]


def test_rows_become_lines_and_a_limit_for_each_size() -> None:
    """Lines go from few connections to many; the limit is the best; a size may lack one."""
    panels = plot.group_panels(ROWS)
    assert panels["640x480"] == plot.Panel(
        {"here": [(1, 15.0), (16, 26.5)], "there": [(1, 9.0)]}, 35.0
    )
    assert panels["12MP"] == plot.Panel({"here": [(1, 3.0)]}, None)


@pytest.mark.parametrize(("ending", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_the_same_results_give_the_same_file(
    ending: str, begins: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command draws what a benchmark wrote, in the format of the ending, into a new folder."""
    results, files = tmp_path / "peers.json", []
    results.write_text(json.dumps({"about": {}, "rows": ROWS}))
    for name in ("one", "two"):
        file = tmp_path / name / f"plot.{ending}"
        monkeypatch.setattr(sys, "argv", ["plot", str(results), "--to", str(file)])
        plot.main()
        files.append(file.read_bytes())
    assert files[0] == files[1]
    assert files[0].startswith(begins)
