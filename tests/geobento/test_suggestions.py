"""What somebody may have meant."""

from __future__ import annotations

import pytest

from geobento.suggestions import did_you_mean


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["b8a"], " (did you mean 'B8A' or 'B8'?)"),
        (["B8", "SWIR"], " (did you mean 'swir16'?)"),
        (["B8", "B8A"], ""),
        (["elevation"], ""),
        ([], ""),
    ],
)
def test_names_that_resemble_the_first_unknown_one(names: list[str], expected: str) -> None:
    """Whatever the case; nothing is said where all are known or none is near."""
    assert did_you_mean(names, ["B8", "B8A", "swir16"]) == expected
