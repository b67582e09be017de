"""Checkouts or settings of this project in turns: ``python -m benchmarks.checkouts``.

For instance a change and what was there before::

    git worktree add ../before HEAD~1
    python -m benchmarks.checkouts before=../before after=.

or two settings: ``plain=. int8=.,GEOBENTO_PRECISION=int8``. Every checkout runs in this Python
environment, with a model store of its own; every variant has
a data folder of its own. All servers are up at the same time,
and one is measured while the others are idle, so that drift of the machine is the same for all.
Ratios are made round by round. Prints a table; weights are random.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks import images, load, regions
from benchmarks.service import RunningServer, run_checkout
from benchmarks.synthetic_images import SIZES, make_jpegs

IMPORT_MODEL = "import sys; from {module} import main; main(sys.argv[1:])"
CLI_ENTRY = re.compile(r'^geobento = "(?P<module>[\w.]+):main"', re.MULTILINE)

Measurements = dict[tuple[str, int], list[dict[str, Any]]]
"""Rows of all rounds, by name of the variant and number of connections."""


@dataclass(frozen=True)
class Variant:
    """A checkout with settings.

    Attributes:
        name: Name in the table.
        folder: Root of the checkout.
        settings: Environment variables.
    """

    name: str
    folder: Path
    settings: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read ``name=folder[,VARIABLE=value...]``.

        Raises:
            argparse.ArgumentTypeError: It has another form, or the folder is not a checkout.
        """
        location, *settings = text.split(",")
        name, _, folder = location.partition("=")
        if (
            not folder
            or not (Path(folder) / "service.py").exists()
            or not all("=" in each for each in settings)
        ):
            raise argparse.ArgumentTypeError("expected name=folder[,VARIABLE=value...]")
        pairs = (setting.split("=", 1) for setting in settings)
        return cls(name, Path(folder).resolve(), dict(pairs))

    def environment(self, store: Path, home: Path) -> dict[str, str]:
        """Environment of its processes.

        Args:
            store: Folder of the model store.
            home: Folder of the data.
        """
        return {
            "PYTHONPATH": str(self.folder),
            "HOME": str(home),
            "BENTOML_HOME": str(store),
            **self.settings,
        }

    def import_model(self, model: str, store: Path) -> None:
        """Put a model with random weights into a model store."""
        entry = CLI_ENTRY.search((self.folder / "pyproject.toml").read_text())
        assert entry is not None
        weights = [] if model == "mosaiks" else ["--weights", "dummy"]
        script = IMPORT_MODEL.format(module=entry["module"])
        subprocess.run(
            [sys.executable, "-c", script, "models", "import", model, *weights],
            cwd=self.folder,
            env={**os.environ, **self.environment(store, store)},
            check=True,
        )


def image_requests(options: argparse.Namespace) -> list[bytes]:
    """Requests with one image each."""
    return images.make_requests(
        options.model, make_jpegs(SIZES[options.size], images.COUNT), "multipart"
    )


def region_requests(options: argparse.Namespace) -> list[bytes]:
    """Requests with one region each."""
    return [
        load.post_request("/geo_embedding", "application/json", orjson.dumps(body))
        for body in regions.make_requests(options.model, options.buffer)
    ]


WORKLOADS: Mapping[str, Callable[[argparse.Namespace], list[bytes]]] = {
    "images": image_requests,
    "regions": region_requests,
}


def run_rounds(
    servers: Mapping[str, RunningServer], requests: Sequence[bytes], options: argparse.Namespace
) -> Measurements:
    """Measure every server in every round; each round begins with another one."""
    rows: Measurements = defaultdict(list)
    names = list(servers)
    for number in range(options.rounds):
        for connections in options.connections:
            for name in names[number % len(names) :] + names[: number % len(names)]:
                row, _ = images.measure(servers[name], requests, connections, options.seconds)
                print({"name": name, "connections": connections, **row}, flush=True)
                rows[name, connections].append(row)
    return rows


def table_rows(
    rows: Mapping[tuple[str, int], Sequence[Mapping[str, Any]]], first: str
) -> list[dict[str, Any]]:
    """Medians, and the median and the range of the ratios of throughput to the first variant."""
    table = []
    for (name, connections), measured in rows.items():
        ratios = [
            row["per_s"] / base["per_s"]
            for row, base in zip(measured, rows[first, connections], strict=True)
        ]
        table.append(
            {
                "name": name,
                "connections": connections,
                **{
                    column: round(statistics.median(row[column] for row in measured), 1)
                    for column in ("per_s", "p50_ms", "p99_ms", "cpu_ms", "memory_mib")
                },
                "errors": sum(row["errors"] for row in measured),
                "ratio": f"{statistics.median(ratios):.3f}",
                "range": f"{min(ratios):.3f} to {max(ratios):.3f}",
            }
        )
    return sorted(table, key=lambda row: row["connections"])


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", nargs="+", type=Variant.parse, metavar="NAME=FOLDER[,VAR=VAL]")
    parser.add_argument("--workload", choices=WORKLOADS, default="images")
    parser.add_argument("--model", default="open_clip_vit_b32")
    parser.add_argument("--size", choices=SIZES, default="640x480", help="of images")
    parser.add_argument("--buffer", type=float, default=1120, help="of regions, metres")
    parser.add_argument("--connections", nargs="*", type=int, default=list(images.CONNECTIONS))
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=float, default=20, help="of the cache, seconds")
    return parser.parse_args(arguments)


def main() -> None:
    """Run and print."""
    options = parse_options()
    requests = WORKLOADS[options.workload](options)
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {}
        stores: dict[Path, Path] = {}
        for variant in options.variants:
            if variant.folder not in stores:
                stores[variant.folder] = root / f"store{len(stores)}"
                variant.import_model(options.model, stores[variant.folder])
            home = root / variant.name
            home.mkdir()
            environment = variant.environment(stores[variant.folder], home)
            server = run_checkout(variant.folder, root / f"{variant.name}.log", environment)
            servers[variant.name] = stack.enter_context(server)
            if options.workload == "regions":  # fill the cache
                images.measure(servers[variant.name], requests, 2, options.warm_up)
        rows = run_rounds(servers, requests, options)
    table = table_rows(rows, options.variants[0].name)
    columns = list(table[0])
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in table:
        print(f"| {' | '.join(str(value) for value in row.values())} |")


if __name__ == "__main__":
    main()
