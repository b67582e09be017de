"""This service beside Infinity and LitServe: ``python -m benchmarks.comparison``.

Writes ``results/peers.json``, ``results/peers.md`` and ``results/peers.svg``. All serve one CLIP
ViT-B/32 with the same random weights, all get the same images from the same load generator, one
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
from benchmarks.comparison.servers import Server, geobento_server, peer_servers
from benchmarks.synthetic_images import SIZES, make_jpegs
from benchmarks.verify import ResponseVerifier, Vector

MODEL, VARIANT = "remoteclip", "vit_b_32"
"""The card whose network is exactly the CLIP ViT-B/32 of the transformers library."""
QUICK_OPTIONS = [
    *("--seconds", "2", "--sizes", "640x480", "--connections", "1", "16"),
    *("--forms", "multipart"),
]


def compare(
    server: Server,
    images_by_size: Mapping[str, Sequence[bytes]],
    expected: Mapping[str, Sequence[Vector]],
    connections: Sequence[int],
    seconds: float,
    log: Path,
) -> Iterator[table.Run]:
    """All runs of one server in one round."""
    with server.start(log) as served:
        for size, data in images_by_size.items():
            requests = server.make_requests(data)
            for count in connections:
                judge = ResponseVerifier(expected[size], server.parse_vector)
                row, result = images.measure(served, requests, count, seconds, judge)
                cpu_s = row["cpu_ms"] * max(1, len(result.latencies)) / 1000
                run = table.Run(
                    server.name, size, count, result, cpu_s, row["memory_mib"], judge.min_cosine
                )
                print({"server": server.name, "size": size, "connections": count, **row})
                if dict(result.outcomes).keys() != {"200"}:
                    print(f"  outcomes: {dict(result.outcomes)}")
                yield run


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What to measure; `--short` sets what is not said otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help=" ".join(QUICK_OPTIONS))
    parser.add_argument("--seconds", type=float, default=8, help="of a run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--images", type=int, default=images.COUNT, help="different ones")
    parser.add_argument("--sizes", nargs="*", choices=list(SIZES), default=["640x480", "12MP"])
    parser.add_argument("--connections", nargs="*", type=int, default=list(images.CONNECTIONS))
    parser.add_argument("--forms", nargs="*", default=["multipart", "base64"], help="of geobento")
    parser.add_argument("--servers", nargs="*", help="beginnings of names; default: all")
    parser.add_argument("--no-limit", action="store_true", help="do not measure the limit")
    options = parser.parse_args(arguments)
    if options.short:
        parser.set_defaults(**vars(parser.parse_args(QUICK_OPTIONS)))
        options = parser.parse_args(arguments)
    return options


def main() -> None:
    """Run, print, write."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # no server is left behind
    options = parse_options()
    from inference.importing import import_model
    from inference.loading import model_precision

    stored = import_model(MODEL, variant=VARIANT, dummy=True)
    folder = layout.write_model(stored, environment.PEERS_DIR / "weights")
    own = [geobento_server(MODEL, stored.tag, form) for form in options.forms]
    if model_precision(stored, "int8", "cpu") == "int8":
        own += [geobento_server(MODEL, stored.tag, form, "int8") for form in options.forms]
    servers = [*own, *peer_servers(folder)]
    if options.servers:
        servers = [one for one in servers if one.name.startswith(tuple(options.servers))]
    jpegs = {size: make_jpegs(SIZES[size], options.images) for size in options.sizes}
    exact = {size: images.reference_vectors(stored.tag, data) for size, data in jpegs.items()}
    rows: list[dict[str, Any]] = []
    for size, data in ({} if options.no_limit else jpegs).items():
        for precision in roofline.precisions(stored):
            limit = roofline.items_per_s(
                stored.tag, precision, roofline.prepare_image, data, options.seconds
            )
            name = f"one process per core, {precision}"
            rows.append({"server": name, "size": size, "per_s": round(limit, 1)})
            print(rows[-1], flush=True)
    limits = {
        size: panel.roofline for size, panel in plot.group_panels(rows).items() if panel.roofline
    }
    runs: list[table.Run] = []
    with tempfile.TemporaryDirectory() as logs:
        for _ in range(options.rounds):
            for server in servers:
                log = Path(logs) / "log"
                runs += compare(server, jpegs, exact, options.connections, options.seconds, log)
    rows += table.merge_rows(runs, limits, own[0].name)
    images.write_results(rows, f"{MODEL} {VARIANT}", "peers", table.COLUMNS)
    plot.draw(rows, images.RESULTS / "peers.svg")
    print((images.RESULTS / "peers.md").read_text())


if __name__ == "__main__":
    main()
