"""Inputs and checkpoints of SatMAE++: ten bands of Sentinel-2, and checks of released files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import ModelCard
from geobento.schemas.sample import Sample
from models.checkpoints.files import CheckpointError
from models.preprocessing.pixels import validated_pixels
from models.preprocessing.resampling import center_crop, resize, shorter_side_shape
from models.types import Tensors

RESIZE_SIZE = 109
"""Shorter side to which the reference implementation resizes before it crops."""


def prepare_s2(sample: Sample, card: ModelCard) -> NDArray[np.float32]:
    """Ten bands (10, H, W) as the network reads them, (10, 96, 96), 0 to 1.

    A region is resized to exactly this size, so that the tokens cover it. Pixels without a
    location, such as an image of a data set, are resized and cropped as in the reference
    implementation.
    """
    spec = card.modalities["s2_10b"]
    size, stats = spec.size or 0, spec.normalization
    offset, scale = (np.asarray(numbers)[:, None, None] for numbers in (stats.offset, stats.scale))
    # In float64 as in the reference implementation, so that truncation gives the same integers.
    values = (validated_pixels(sample, card).astype(np.float64) - offset) * scale
    levels = np.clip(values, 0, 255).astype(np.uint8).astype(np.float32) / np.float32(255)
    if sample.grid is not None:
        return resize(levels, (size, size), "bicubic", antialias=True)
    height, width = levels.shape[-2:]
    shape = shorter_side_shape(height, width, RESIZE_SIZE)
    resized = resize(levels, shape, "bicubic", antialias=True)
    return np.ascontiguousarray(center_crop(resized, size))


def check_checkpoint(
    checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
) -> None:
    """Check that a checkpoint is of SatMAE++ and of the network of a variant.

    Raises:
        CheckpointError: It is of the other network, or of SatMAE.
    """
    is_s2 = variant == "s2_10b"
    names = {True: "ten bands", False: "images"}
    if (has_bands := "channel_embed" in checkpoint) != is_s2:
        raise CheckpointError(
            f"the checkpoint is of the network for {names[has_bands]}; the variant {variant!r} is "
            f"the one for {names[is_s2]}"
        )
    has_decoder, has_scales = (
        any(name.startswith(prefix) for name in checkpoint) for prefix in ("decoder_", "proj_up_")
    )
    if has_decoder and not has_scales:
        raise CheckpointError(
            "the checkpoint is of a masked autoencoder of one scale, such as SatMAE; SatMAE++ "
            "has proj_up_* beside decoder_*"
        )
    channels = 10 if is_s2 else 3
    stated = checkpoint_config.get("arch", checkpoint_config).get("in_chans", channels)
    if stated != channels:
        raise CheckpointError(
            f"the configuration says {stated} channels; {variant} reads {channels}"
        )
