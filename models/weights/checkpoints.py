"""Reading checkpoint files safely and strictly."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


STATE_DICT_KEYS = ("model", "state_dict")
"""Keys under which training scripts keep the weights, beside the optimizer and the epoch."""
DATA_PARALLEL_PREFIX = "module."
"""Prefix of every name where a network was wrapped for several devices."""
MAX_LISTED_NAMES = 8
"""Names in an error message at most."""


class CheckpointError(ValueError):
    """A checkpoint is not of the layout that the model family expects."""


def read_tensors(path: Path, key: str | None = None) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint file; no code of the file is ever run.

    Args:
        path: ``*.safetensors``, or a file of ``torch.save`` that holds a mapping of names to
            tensors, flat or as a training script keeps it.
        key: Entry of that mapping that holds the tensors; None: the mapping itself, or the entry
            `model` or `state_dict`.

    Raises:
        CheckpointError: The file is neither, is damaged, or has no such entry.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Training scripts keep their arguments in the file: names and values, no code.
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
    keys = STATE_DICT_KEYS if key is None else (key,)
    tensors = _find_state_dict(loaded, keys)
    if tensors is None:
        raise CheckpointError(
            f"{path.name} does not hold a mapping of names to tensors, neither flat nor under "
            f"{' or '.join(map(repr, keys))}"
        )
    return strip_prefix(tensors, DATA_PARALLEL_PREFIX)


def strip_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Tensors under names without a prefix, where every name has it; else as they are."""
    if not all(name.startswith(prefix) for name in tensors):
        return tensors
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def _find_state_dict(loaded: Any, keys: tuple[str, ...]) -> dict[str, torch.Tensor] | None:
    """The mapping of names to tensors that a file holds, flat or under a key; None: none."""
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
    """Check that exactly the expected keys are there.

    Raises:
        CheckpointError: Some are missing or some are too many; the message names them.
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
    """Check that tensors have exactly the names and shapes of a network's.

    Raises:
        CheckpointError: A name or a shape differs.
    """
    require_keys(tensors, expected, label)
    for name, tensor in expected.items():
        require_shape(name, tensors[name], tuple(tensor.shape))


def require_shape(name: str, tensor: Any, shape: tuple[int | None, ...]) -> None:
    """Check a tensor's shape; None stands for any length.

    Raises:
        CheckpointError: It differs.
    """
    actual = tuple(tensor.shape)
    if len(actual) != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, actual, strict=True)
    ):
        wanted = "x".join("?" if side is None else str(side) for side in shape)
        raise CheckpointError(f"{name} has shape {actual}, expected {wanted}")
