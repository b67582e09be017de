"""All benchmarks of speed, one after the other: ``python -m benchmarks``.

Run them on an idle machine. ``--short`` takes minutes and gives rough figures.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass

QUICK_OPTIONS = ("--seconds", "2", "--connections", "1", "16")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark.

    Attributes:
        module: Module of this package.
        description: What it measures.
        quick_options: Arguments for `--short`.
    """

    module: str
    description: str
    quick_options: tuple[str, ...]


BENCHMARKS = (
    Benchmark(
        "images",
        "images over HTTP against the limit of this machine",
        (*QUICK_OPTIONS, "--rounds", "1", "--sizes", "640x480", "12MP", "--forms", "multipart"),
    ),
    Benchmark(
        "regions",
        "regions, with and without cache",
        (*QUICK_OPTIONS, "--rounds", "1", "--buffers", "320"),
    ),
    Benchmark(
        "earth_engine",
        "requests to Earth Engine and their bytes",
        ("--sizes", "64", "--frames", "1", "4"),
    ),
    Benchmark("comparison", "images beside Infinity and LitServe", ("--short",)),
)


def main() -> None:
    """Run all, even if one fails; report failures at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="some minutes in place of an hour")
    short = parser.parse_args().short
    failed = []
    for each in BENCHMARKS:
        print(f"== benchmarks.{each.module}: {each.description}", flush=True)
        start = time.monotonic()
        command = [sys.executable, "-m", f"benchmarks.{each.module}"]
        if subprocess.run(
            [*command, *(each.quick_options if short else ())], check=False
        ).returncode:
            failed.append(each.module)
        print(f"== {time.monotonic() - start:.0f} s", flush=True)
    print("tables and plots are in benchmarks/results")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
