"""Filters of MOSAIKS: seeded ones, and those of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.checkpoints.files import CheckpointError, require_keys, require_shape
from models.types import Config, Tensors

if TYPE_CHECKING:
    import torch

SEED = 4392
MODALITY_CHANNELS = {"rgb": 3, "s2": 12}
CELL_SIZE = 16
"""Side of a cell of the grid, pixels."""
GAUSSIAN_CONFIG: Config = {
    "filters": 512,
    "kernel": 3,
    "channels": MODALITY_CHANNELS,
    "cell": CELL_SIZE,
    "equal_cells": True,
    "clip": True,
    "resize": True,
}
"""Architecture of the seeded variant.

`equal_cells`: cells of equal size that cover the map exactly, instead of cells of exactly 16 pixels
of which the last may be cut off. `clip`: Sentinel-2 reflectance to 0..1. `resize`: images to the
size of the card.
"""


def default_config(variant: str) -> Config:
    """Architecture of a variant that needs no file.

    Raises:
        CheckpointError: The variant has filters that are fitted to images.
    """
    if variant != "gaussian":
        raise CheckpointError(
            f"the filters of mosaiks {variant} are fitted to images; import them with "
            "--checkpoint FILE --config FILE"
        )
    return dict(GAUSSIAN_CONFIG)


def gaussian_filters(config: Config) -> Tensors:
    """Zero-mean unit-norm Gaussian filters from a fixed seed, bias 0."""
    import torch

    from models.mosaiks.network import normalize_filters

    tensors: Tensors = {}
    for number, (modality, channels) in enumerate(sorted(config["channels"].items())):
        generator = torch.Generator("cpu").manual_seed(SEED + number)
        shape = (config["filters"], channels, config["kernel"], config["kernel"])
        weight = normalize_filters(torch.randn(shape, generator=generator))
        bias = torch.zeros(config["filters"])
        tensors |= _filter_bank(modality, weight, bias, bias.clone())
    return tensors


def from_file(
    checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
) -> tuple[Config, Tensors]:
    """Configuration and filter bank of a file in torchgeo's layout.

    The variant says which convention the biases follow: `rolf2021` subtracts them from both signs,
    `torchgeo` adds them to the response.

    Args:
        checkpoint: `weights` (K, C, k, k) and `biases` (K,).
        checkpoint_config: May state `arch.features`, which is then checked.
        variant: `rolf2021` or `torchgeo`.

    Raises:
        CheckpointError: The variant, a name, a shape or a number does not fit.
    """
    if variant not in {"rolf2021", "torchgeo"}:
        raise CheckpointError(
            f"filters from a file are of the variant 'rolf2021' or 'torchgeo', not {variant!r}"
        )
    require_keys(checkpoint, {"weights", "biases"}, "checkpoint of random features")
    require_shape("weights", checkpoint["weights"], (None, None, None, None))
    weights, biases = checkpoint["weights"].float(), checkpoint["biases"].float()
    count, channels, kernel = weights.shape[0], weights.shape[1], weights.shape[-1]
    require_shape("weights", weights, (None, None, kernel, kernel))
    require_shape("biases", biases, (count,))
    modality = {number: name for name, number in MODALITY_CHANNELS.items()}.get(channels)
    if modality is None:
        raise CheckpointError(
            f"the filters have {channels} channels; accepted: 3 (RGB) or 12 (Sentinel-2)"
        )
    _check_features(checkpoint_config, count)
    is_rolf = variant == "rolf2021"
    config = GAUSSIAN_CONFIG | {
        "filters": count,
        "kernel": kernel,
        "channels": {modality: channels},
        "equal_cells": False,
        "clip": is_rolf,
        "resize": False,
    }
    return config, _filter_bank(modality, weights, -biases if is_rolf else biases, -biases)


def _check_features(checkpoint_config: Mapping[str, Any], count: int) -> None:
    arch = checkpoint_config.get("arch", {})
    if not isinstance(arch, Mapping):
        raise CheckpointError("the configuration's arch is not an object")
    features = arch.get("features", 2 * count)
    if features != 2 * count:
        raise CheckpointError(
            f"the configuration says {features} features, the {count} filters give {2 * count}"
        )


def _filter_bank(
    modality: str, weight: torch.Tensor, bias_positive: torch.Tensor, bias_negative: torch.Tensor
) -> Tensors:
    prefix = f"banks.{modality}"
    return {
        f"{prefix}.weight": weight,
        f"{prefix}.bias_positive": bias_positive,
        f"{prefix}.bias_negative": bias_negative,
    }
