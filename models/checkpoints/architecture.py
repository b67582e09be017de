"""Checks of the architecture that a checkpoint's configuration states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.checkpoints.files import CheckpointError


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


def check_variant(
    config: Mapping[str, Any],
    variant: str,
    variants: Mapping[str, Mapping[str, Any]],
    names: Sequence[str],
) -> None:
    """Check that a configuration is not that of another variant.

    Args:
        config: Configuration of a checkpoint.
        variant: The variant that it is imported as; one that is not listed fits any sizes.
        variants: Configuration of every variant.
        names: Sizes that tell variants apart.

    Raises:
        CheckpointError: All of these sizes are those of another variant.
    """
    if variant not in variants:
        return
    for other, released in variants.items():
        if other != variant and all(config[name] == released[name] for name in names):
            raise CheckpointError(f"the configuration is that of {other}, not of {variant}")
