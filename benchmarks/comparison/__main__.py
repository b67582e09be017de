"""This service beside Infinity and LitServe: ``python -m benchmarks.comparison``.

Writes ``results/peers.json``, ``results/peers.md`` and ``results/peers.svg``. All serve one CLIP
ViT-B/32 with the same random weights, all get the same pictures from the same load generator, one
after the other and again in every round; none is up while another is measured. Every answer is
checked against float32. Each peer is installed into an environment of its own when first needed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import images, plot, roofline
from benchmarks.comparison import environment, layout, table
from benchmarks.comparison.servers import Server, ours, peers
from benchmarks.synthetic_images import SIZES, jpegs
from benchmarks.verify import Judging, Vector

MODEL, VARIANT = "remoteclip", "vit_b_32"
"""The card whose network is exactly the CLIP ViT-B/32 of the transformers library."""
SHORT = [
    *("--seconds", "2", "--sizes", "640x480", "--connections", "1", "16"),
    *("--forms", "multipart"),
]


def compared(
    server: Server,
    pictures: Mapping[str, Sequence[bytes]],
    exact: Mapping[str, Sequence[Vector]],
    connections: Sequence[int],
    seconds: float,
    log: Path,
) -> Iterator[table.Run]:
    """All runs of one server in one round."""
    with server.start(log) as served:
        for size, data in pictures.items():
            asked = server.ask(data)
            for count in connections:
                judge = Judging(exact[size], server.read)
                row, found = images.measured(served, asked, count, seconds, judge)
                cpu_s = row["cpu_ms"] * max(1, len(found.latencies)) / 1000
                run = table.Run(
                    server.name, size, count, found, cpu_s, row["memory_mib"], judge.least
                )
                print({"server": server.name, "size": size, "connections": count, **row})
                if dict(found.outcomes).keys() != {"200"}:
                    print(f"  outcomes: {dict(found.outcomes)}")
                yield run


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What to measure; `--short` sets what is not said otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help=" ".join(SHORT))
    parser.add_argument("--seconds", type=float, default=8, help="of a run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=images.COUNT, help="different ones")
    parser.add_argument("--sizes", nargs="*", choices=list(SIZES), default=["640x480", "12MP"])
    parser.add_argument("--connections", nargs="*", type=int, default=list(images.CONNECTIONS))
    parser.add_argument("--forms", nargs="*", default=["multipart", "base64"], help="of geobento")
    parser.add_argument("--servers", nargs="*", help="beginnings of names; default: all")
    parser.add_argument("--no-limit", action="store_true", help="do not measure the limit")
    chosen = parser.parse_args(arguments)
    if chosen.short:
        parser.set_defaults(**vars(parser.parse_args(SHORT)))
        chosen = parser.parse_args(arguments)
    return chosen


def main() -> None:
    """Run, print, write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # no server is left behind
    chosen = options()
    from models.weights.importer import import_model

    stored = import_model(MODEL, variant=VARIANT, dummy=True)
    folder = layout.write(stored, environment.KEPT / "weights")
    own = [ours(MODEL, stored.tag, form) for form in chosen.forms]
    if stored.precision("int8", "cpu") == "int8":
        own += [ours(MODEL, stored.tag, form, "int8") for form in chosen.forms]
    servers = [*own, *peers(folder)]
    if chosen.servers:
        servers = [one for one in servers if one.name.startswith(tuple(chosen.servers))]
    pictures = {size: jpegs(SIZES[size], chosen.pictures) for size in chosen.sizes}
    exact = {size: images.vectors(stored.tag, data) for size, data in pictures.items()}
    rows: list[dict[str, Any]] = []
    for size, data in ({} if chosen.no_limit else pictures).items():
        for precision in roofline.precisions(stored):
            most = roofline.items_per_s(
                stored.tag, precision, roofline.picture, data, chosen.seconds
            )
            name = f"one process per core, {precision}"
            rows.append({"server": name, "size": size, "per_s": round(most, 1)})
            print(rows[-1], flush=True)
    limits = {size: panel.limit for size, panel in plot.panels(rows).items() if panel.limit}
    runs: list[table.Run] = []
    with tempfile.TemporaryDirectory() as logs:
        for _ in range(chosen.rounds):
            for server in servers:
                log = Path(logs) / "log"
                runs += compared(server, pictures, exact, chosen.connections, chosen.seconds, log)
    rows += table.rows(runs, limits, own[0].name)
    images.write(rows, f"{MODEL} {VARIANT}", "peers", table.COLUMNS)
    plot.draw(rows, images.RESULTS / "peers.svg")
    print((images.RESULTS / "peers.md").read_text())


if __name__ == "__main__":
    main()
