"""Choosing a precision."""

from __future__ import annotations

import pytest

from inference.precision import choose_precision
from inference.types import Precision
from models.mosaiks.model import Mosaiks
from models.weights.stored_model import Calibration

pytest.importorskip("transformers")

from models.clip.openai import Clip

MOSAIKS, CLIP = Mosaiks.card, Clip.card

ACCURATE, INACCURATE = {"cosine": 0.9999, "max_error": 0.01}, {"cosine": 0.99, "max_error": 0.1}
BFLOAT16, BAD_BFLOAT16 = {"bfloat16": ACCURATE}, {"bfloat16": INACCURATE}
BOTH, BAD_INT8 = BFLOAT16 | {"int8": ACCURATE}, BFLOAT16 | {"int8": INACCURATE}


@pytest.mark.parametrize(
    ("requested", "calibration", "native", "expected"),
    [
        ("auto", BOTH, {"bfloat16", "int8"}, "bfloat16"),
        ("auto", BOTH, {"int8"}, "float32"),
        ("auto", BAD_BFLOAT16, {"bfloat16", "int8"}, "float32"),
        ("auto", {}, {"bfloat16", "int8"}, "float32"),
        ("float32", BOTH, {"bfloat16", "int8"}, "float32"),
        ("bfloat16", BAD_BFLOAT16, {"int8"}, "bfloat16"),
        ("int8", BOTH, {"bfloat16", "int8"}, "int8"),
        ("int8", BOTH, {"int8"}, "int8"),
        ("int8", BOTH, {"bfloat16"}, "bfloat16"),
        ("int8", BOTH, set(), "float32"),
        ("int8", BAD_INT8, {"bfloat16", "int8"}, "bfloat16"),
        ("int8", BFLOAT16, {"bfloat16", "int8"}, "bfloat16"),
        ("int8", BAD_BFLOAT16 | {"int8": ACCURATE}, {"bfloat16", "int8"}, "float32"),
        ("int8", {}, {"bfloat16", "int8"}, "float32"),
    ],
)
def test_the_choice(
    requested: str, calibration: Calibration, native: set[Precision], expected: str
) -> None:
    """`auto` needs hardware and an accurate calibration; `bfloat16` is taken as requested."""
    assert choose_precision(requested, CLIP, calibration, native) == expected


@pytest.mark.parametrize("requested", ["bfloat16", "int8"])
def test_a_card_can_rule_it_out(requested: str) -> None:
    """Whatever the setting says."""
    native: set[Precision] = {"bfloat16", "int8"}
    assert choose_precision(requested, MOSAIKS, BOTH, native) == "float32"
