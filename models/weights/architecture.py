"""Checks of the architecture that a checkpoint's configuration states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.weights.checkpoints import CheckpointError


def check_sizes(sizes: Mapping[str, Any], *, width: str, multiple_of: int) -> None:
    """Check the sizes of a transformer before it is built.

    Args:
        sizes: Positive integers by name, `num_heads` among them.
        width: Name of the width of the tokens; the heads divide it.
        multiple_of: Divides the width, too.

    Raises:
        CheckpointError: A size is no positive integer, or the width cannot be divided.
    """
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise CheckpointError(f"the configuration's {name} is {size!r}, not a positive integer")
    heads = sizes["num_heads"]
    if sizes[width] % multiple_of or sizes[width] % heads:
        raise CheckpointError(
            f"the configuration's {width} is {sizes[width]}, not a multiple of {multiple_of} and "
            f"of {heads} heads"
        )
