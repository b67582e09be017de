"""The comparison of checkouts: its arguments and its table."""

from __future__ import annotations

import argparse

import pytest

from benchmarks.checkouts import Variant, table_rows
from tests.conftest import ROOT


def row(per_s: float) -> dict[str, float]:
    """A measured row."""
    return {
        "per_s": per_s,
        "p50_ms": 2.0,
        "p99_ms": 3.0,
        "cpu_ms": 1.0,
        "memory_mib": 100,
        "errors": 1,
    }


def test_a_variant_is_a_checkout_with_settings() -> None:
    """Settings and folders of its own are in the environment of its processes."""
    variant = Variant.parse(f"int8={ROOT},GEOBENTO_PRECISION=int8,EMPTY=")
    assert (variant.name, variant.folder) == ("int8", ROOT)
    environment = variant.environment(ROOT / "store", ROOT / "home")
    assert environment["GEOBENTO_PRECISION"] == "int8"
    assert environment["EMPTY"] == ""
    assert environment["PYTHONPATH"] == str(ROOT)
    assert environment["BENTOML_HOME"] == str(ROOT / "store")


@pytest.mark.parametrize("text", ["name", "name=/nowhere", f"name={ROOT},SETTING"])
def test_other_arguments_are_rejected(text: str) -> None:
    """With the accepted form."""
    with pytest.raises(argparse.ArgumentTypeError, match="name=folder"):
        Variant.parse(text)


def test_ratios_are_made_round_by_round() -> None:
    """A machine that is slower in a round is slower for all variants."""
    measured = {
        ("before", 4): [row(10), row(20), row(40)],
        ("after", 4): [row(11), row(24), row(40)],
    }
    before, after = table_rows(measured, "before")
    assert (before["ratio"], before["range"]) == ("1.000", "1.000 to 1.000")
    assert (after["ratio"], after["range"]) == ("1.100", "1.000 to 1.200")
    assert (after["per_s"], after["errors"]) == (24, 3)
