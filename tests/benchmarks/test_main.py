"""The list of benchmarks."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks.__main__ import BENCHMARKS


@pytest.mark.parametrize("module", [benchmark.module for benchmark in BENCHMARKS])
def test_every_benchmark_exists(module: str) -> None:
    """`python -m benchmarks` starts modules by name."""
    assert importlib.util.find_spec(f"benchmarks.{module}") is not None
