"""Reading checkpoint files safely and strictly."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


STATE_DICT_KEYS = ("model", "state_dict")
"""Keys under which training scripts save the weights, beside optimizer and epoch."""
DATA_PARALLEL_PREFIX = "module."
"""Prefix of every name in a checkpoint of `torch.nn.DataParallel`."""
MAX_LISTED_NAMES = 8
"""Maximum number of names in an error message."""


class CheckpointError(ValueError):
    """A checkpoint has another layout than the model expects."""


def read_tensors(path: Path, keys: tuple[str, ...] = STATE_DICT_KEYS) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint file; code in the file is never executed.

    Args:
        path: ``*.safetensors``, or a file of ``torch.save`` that holds a mapping of names to
            tensors, flat or nested under a key.
        keys: Entries of that mapping that may hold the tensors, where it does not itself.

    Raises:
        CheckpointError: The file is neither of these, is damaged, or has no such entry.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Training scripts save their arguments in the file: names and values, no code.
        with torch.serialization.safe_globals([Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}") from error
    except Exception as error:
        raise CheckpointError(
            f"{path.name} is not a checkpoint of tensors alone ({type(error).__name__}); "
            "accepted: safetensors, or torch.save of names to tensors"
        ) from error
    tensors = _find_state_dict(loaded, keys)
    if tensors is None:
        raise CheckpointError(
            f"{path.name} does not hold a mapping of names to tensors, neither flat nor under "
            f"{' or '.join(map(repr, keys))}"
        )
    return strip_prefix(tensors, DATA_PARALLEL_PREFIX)


def strip_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Remove a prefix from all names; tensors stay as they are unless every name has it."""
    if not all(name.startswith(prefix) for name in tensors):
        return tensors
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _find_state_dict(loaded: Any, keys: tuple[str, ...]) -> dict[str, torch.Tensor] | None:
    """The mapping of names to tensors in a loaded file, flat or under a key; None if none."""
    import torch

    if not isinstance(loaded, Mapping):
        return None
    for candidate in (loaded, *(loaded.get(key) for key in keys)):
        if isinstance(candidate, Mapping) and all(
            isinstance(name, str) and isinstance(value, torch.Tensor)
            for name, value in candidate.items()
        ):
            return dict(candidate)
    return None


def require_keys(present: Iterable[str], expected: Iterable[str], label: str) -> None:
    """Check that exactly the expected keys are present.

    Raises:
        CheckpointError: Keys are missing or unexpected; the message names them.
    """
    present, expected = set(present), set(expected)
    if present == expected:
        return
    problems = []
    if missing := sorted(expected - present):
        problems.append(f"missing {_format_names(missing)}")
    if surplus := sorted(present - expected):
        problems.append(f"unexpected {_format_names(surplus)}")
    raise CheckpointError(f"{label}: {'; '.join(problems)}")


def _format_names(names: list[str]) -> str:
    more = len(names) - MAX_LISTED_NAMES
    return ", ".join(names[:MAX_LISTED_NAMES]) + (f" and {more} more" if more > 0 else "")


def require_state_dict(tensors: Mapping[str, Any], expected: Mapping[str, Any], label: str) -> None:
    """Check that tensors have the names and shapes of a network's state dict.

    Raises:
        CheckpointError: A name or a shape differs.
    """
    require_keys(tensors, expected, label)
    for name, tensor in expected.items():
        require_shape(name, tensors[name], tuple(tensor.shape))


def require_shape(name: str, tensor: Any, shape: tuple[int | None, ...]) -> None:
    """Check the shape of a tensor; None stands for any length.

    Raises:
        CheckpointError: The shape differs.
    """
    actual = tuple(tensor.shape)
    if len(actual) != len(shape) or any(
        expected not in (None, length) for expected, length in zip(shape, actual, strict=True)
    ):
        accepted = "x".join("?" if length is None else str(length) for length in shape)
        raise CheckpointError(f"{name} has shape {actual}, expected {accepted}")
