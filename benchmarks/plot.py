"""Throughput over connections as an image: ``python -m benchmarks.plot results/peers.json``.

Reads what a benchmark wrote and draws a panel for each size of image, a line for each server and
the limit of the machine, dashed. The ending of ``--to`` says the format: ``.svg`` or ``.png``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PUBLISHED = Path(__file__).parent.parent / "docs" / "images" / "benchmarks.svg"
PANEL_INCHES = 4.6, 3.6
"""Of a panel."""


@dataclass
class Panel:
    """What is drawn for one size.

    Attributes:
        lines: Of every server its (connections, images a second), from few connections to many.
        roofline: The most without any server, images a second; None: not measured.
    """

    lines: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    roofline: float | None = None


def group_panels(rows: Sequence[Mapping[str, Any]]) -> dict[str, Panel]:
    """Rows of a table by size: those with `connections` are points, the best other is the limit."""
    result: dict[str, Panel] = {}
    for row in rows:
        panel = result.setdefault(row["size"], Panel())
        if "connections" in row:
            points = panel.lines.setdefault(row["server"], [])
            points.append((row["connections"], row["per_s"]))
            points.sort()
        else:
            panel.roofline = max(panel.roofline or 0.0, row["per_s"])
    return result


def draw(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write the image."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = group_panels(rows)
    figure = Figure(figsize=(PANEL_INCHES[0] * len(drawn), PANEL_INCHES[1]), layout="constrained")
    axes = figure.subplots(1, len(drawn), squeeze=False)[0]
    names = list(dict.fromkeys(name for panel in drawn.values() for name in panel.lines))
    for one, (size, panel) in zip(axes, drawn.items(), strict=True):
        for name, points in panel.lines.items():
            one.plot(*zip(*points, strict=True), "o-", color=f"C{names.index(name)}", label=name)
        if panel.roofline is not None:
            one.axhline(panel.roofline, color="grey", linestyle="--", label="one process per core")
        ticks = sorted({count for points in panel.lines.values() for count, _ in points})
        one.set_xscale("log", base=2)
        one.set_xticks(ticks, [str(count) for count in ticks])
        one.set_ylim(bottom=0)
        one.set_title(f"JPEG {size}")
        one.set_xlabel("connections")
    axes[0].set_ylabel("images a second")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    undated = {"Date": None} if file.suffix == ".svg" else None
    with rc_context({"svg.hashsalt": "benchmarks"}):  # the same figures give the same file
        figure.savefig(file, metadata=undated, dpi=150)


def main() -> None:
    """Read, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="a JSON file of benchmarks.images or .peers")
    parser.add_argument("--to", type=Path, default=PUBLISHED)
    options = parser.parse_args()
    draw(json.loads(options.results.read_text())["rows"], options.to)
    print(options.to)


if __name__ == "__main__":
    main()
