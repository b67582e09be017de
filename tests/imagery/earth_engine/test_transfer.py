"""How pixels travel from Earth Engine."""

from __future__ import annotations

import numpy as np
import pytest

from imagery.collections import registry
from imagery.earth_engine.transfer import ABOVE, BELOW, GAP, NO_DATA, Floats, Steps, transfer


@pytest.mark.parametrize(
    ("whole", "halves", "expected"),
    [
        (None, False, Floats()),
        ((0, 30_000), False, Steps(0, 1)),
        ((0, 30_000), True, Steps(0, 2)),
        ((-100, 16_000), True, Steps(-100, 2)),
        ((0, 32_766), True, Steps(0, 2)),
        ((0, 32_767), True, Floats()),
        ((1, 65_533), False, Steps(1, 1)),
        ((1, 65_534), False, Floats()),
    ],
)
def test_16_bits_where_the_usual_numbers_fit(
    whole: tuple[int, int] | None, halves: bool, expected: object
) -> None:
    """Numbers between which there are too many steps, or any, come as floats."""
    assert transfer(whole, halves=halves) == expected


def test_steps_are_the_numbers() -> None:
    """Every code but three stands for one number, and no two for the same."""
    codes = np.arange(1, ABOVE, dtype=np.uint16)
    numbers = Steps(-100, 2).decoded(codes)
    assert numbers is not None
    np.testing.assert_array_equal(numbers, -100 + np.arange(ABOVE - 1) / 2)
    assert numbers.dtype == np.float32


@pytest.mark.parametrize("code", [BELOW, ABOVE])
def test_numbers_that_do_not_fit_are_no_numbers(code: int) -> None:
    """One is enough."""
    assert Steps(0, 2).decoded(np.array([1, GAP, code], np.uint16)) is None


def test_gaps() -> None:
    """They stay gaps."""
    numbers = Steps(0, 2).decoded(np.array([3, GAP], np.uint16))
    np.testing.assert_array_equal(numbers, np.array([1, NO_DATA], np.float32))


def test_what_is_resampled_is_not_whole() -> None:
    """The table takes no collection for whole whose values are means of neighbours, or scaled."""
    for collection in registry.COLLECTIONS.values():
        if collection.gee.whole is not None:
            assert collection.resampling == "nearest"
            assert collection.stac_scale == collection.stac_power == 1
