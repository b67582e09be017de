"""How pixels travel from Earth Engine."""

from __future__ import annotations

import numpy as np
import pytest

from imagery.collections import registry
from imagery.earth_engine.transfer import (
    NODATA,
    UINT16_NODATA,
    UINT16_OVERFLOW,
    UINT16_UNDERFLOW,
    Float32Encoding,
    ScaledUint16Encoding,
    choose_encoding,
)


@pytest.mark.parametrize(
    ("whole", "halves", "expected"),
    [
        (None, False, Float32Encoding()),
        ((0, 30_000), False, ScaledUint16Encoding(0, 1)),
        ((0, 30_000), True, ScaledUint16Encoding(0, 2)),
        ((-100, 16_000), True, ScaledUint16Encoding(-100, 2)),
        ((0, 32_766), True, ScaledUint16Encoding(0, 2)),
        ((0, 32_767), True, Float32Encoding()),
        ((1, 65_533), False, ScaledUint16Encoding(1, 1)),
        ((1, 65_534), False, Float32Encoding()),
    ],
)
def test_16_bits_where_the_valid_range_fits(
    whole: tuple[int, int] | None, halves: bool, expected: object
) -> None:
    """Ranges with too many steps, and values without a range, come as floats."""
    assert choose_encoding(whole, half_steps=halves) == expected


def test_scaled_integers_round_trip() -> None:
    """Every code but three stands for one number, and no two for the same."""
    codes = np.arange(1, UINT16_OVERFLOW, dtype=np.uint16)
    numbers = ScaledUint16Encoding(-100, 2).decode(codes)
    assert numbers is not None
    np.testing.assert_array_equal(numbers, -100 + np.arange(UINT16_OVERFLOW - 1) / 2)
    assert numbers.dtype == np.float32


@pytest.mark.parametrize("code", [UINT16_UNDERFLOW, UINT16_OVERFLOW])
def test_values_out_of_range_are_not_decoded(code: int) -> None:
    """One such value rejects all, so that they are requested as floats."""
    assert ScaledUint16Encoding(0, 2).decode(np.array([1, UINT16_NODATA, code], np.uint16)) is None


def test_gaps_stay_gaps() -> None:
    """Masked pixels come back masked."""
    numbers = ScaledUint16Encoding(0, 2).decode(np.array([3, UINT16_NODATA], np.uint16))
    np.testing.assert_array_equal(numbers, np.array([1, NODATA], np.float32))


def test_interpolated_values_are_not_integers() -> None:
    """Collections whose values are interpolated or scaled are not in `integer_range`."""
    for collection in registry.COLLECTIONS.values():
        if collection.gee.integer_range is not None:
            assert collection.resampling == "nearest"
            assert collection.stac_scale == collection.stac_power == 1
