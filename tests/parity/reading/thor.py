"""THOR's cases: the stages of its groups of bands, each at its own resolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from geobento.schemas.sample import Sample
from inference import pooling
from inference.engines.torch import TorchModel
from models.base import Model
from models.thor import network as networks
from models.thor.checkpoint import FILE_BANDS
from models.thor.model import Thor
from models.types import Encoded, Inputs

INPUT_TOLERANCE = 1e-5
OUTPUT_TOLERANCE = 1e-4
FILE_NAMES = {band: name for name, band in FILE_BANDS.items()}


def prepared(model: Model, arrays: Mapping[str, NDArray[Any]], record: Any) -> Inputs:
    """The case's image with the bands of its modality, in patches of the case's size."""
    modality, image = record["modality"], arrays["image"]
    bands = model.card.modalities[modality].sensor.bands[: len(image)]
    options = {"patch_size": record["inputs"]["patch_size"]}
    return model.with_options(options).prepare(Sample(image, bands, modality))


def stages(
    loaded: TorchModel, inputs: Inputs, encoded: Encoded
) -> dict[str, tuple[NDArray[Any], float]]:
    """Inputs band by band; tokens after the last norm; groups concatenated as in the reference."""
    network: Any = loaded._network
    batch = loaded.collate_inputs([inputs])
    image, parts = Thor.stack_channels(batch)
    result: dict[str, tuple[NDArray[Any], float]] = {}
    for part in parts:
        pixels = networks.to_native_resolution(image, part)[0]
        for band, values in zip(part.bands, pixels, strict=True):
            name = FILE_NAMES[band].replace(":", "_")
            result[f"network_input_{name}"] = (values.numpy(), INPUT_TOLERANCE)
    with torch.inference_mode():
        tokens, shapes = network(image, parts, int(batch["patch"][0]), batch["pixel_mm"] / 1000)
        normed = network.norm(tokens)[0].numpy()
        concatenated = networks.merge_groups(tokens, shapes).flatten(1, 2)[0].numpy()
    made = {
        "pooled_mean": pooling.pool(encoded, "native")[0].numpy(),
        "tokens_norm": normed,
        "pooled_mean_norm": normed.mean(axis=0),
        "grid_concat": concatenated,
        "embedding": concatenated,
    }
    return result | {name: (values, OUTPUT_TOLERANCE) for name, values in made.items()}
