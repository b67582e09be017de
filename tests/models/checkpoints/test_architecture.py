"""Sizes that a configuration states."""

from __future__ import annotations

from typing import Any

import pytest

from models.checkpoints.architecture import check_sizes, check_variant
from models.checkpoints.files import CheckpointError

SIZES = {"embed_dim": 48, "depth": 2, "num_heads": 4}


def test_sizes_that_fit() -> None:
    """Nothing is raised."""
    check_sizes(SIZES, width="embed_dim", multiple_of=16)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"depth": 0}, "depth is 0, not a positive integer"),
        ({"depth": True}, "depth is True"),
        ({"depth": 2.0}, "depth is 2.0"),
        ({"embed_dim": 40}, "embed_dim is 40, not a multiple of 16"),
        ({"num_heads": 5}, "embed_dim is 48, not a multiple of 16 and of 5 heads"),
    ],
)
def test_sizes_that_do_not_fit(wrong: dict[str, Any], message: str) -> None:
    """The message names the size."""
    with pytest.raises(CheckpointError, match=message):
        check_sizes(SIZES | wrong, width="embed_dim", multiple_of=16)


VARIANTS = {"tiny": {"embed_dim": 16, "depth": 2}, "base": {"embed_dim": 48, "depth": 2}}


def test_sizes_of_another_variant_are_refused() -> None:
    """Only if all sizes that tell variants apart are those of the other one."""
    names = ("embed_dim", "depth")
    check_variant(VARIANTS["tiny"], "tiny", VARIANTS, names)
    check_variant({"embed_dim": 48, "depth": 3}, "tiny", VARIANTS, names)
    check_variant(VARIANTS["base"], "fine-tuned", VARIANTS, names)
    with pytest.raises(CheckpointError, match="that of base, not of tiny"):
        check_variant(VARIANTS["base"], "tiny", VARIANTS, names)
