"""Cases of SatMAE++: images, or ten bands without a location."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image

from geobento.schemas.sample import Sample
from inference.engines.torch import TorchModel
from models.base import Model
from models.types import Encoded, Inputs


def prepared(model: Model, arrays: Mapping[str, Any], record: Mapping[str, Any]) -> Inputs:
    """The case's image, or its digital numbers."""
    if "rgb_u8" in arrays:
        return model.prepare_image(Image.fromarray(arrays["rgb_u8"]))
    bands = model.card.modalities["s2_10b"].sensor.bands
    return model.prepare(Sample(arrays["s2_dn"], bands, "s2_10b"))


def stages(loaded: TorchModel, inputs: Inputs, encoded: Encoded) -> dict[str, Any]:
    """For ten bands, all tokens before those of one position are averaged."""
    result: dict[str, Any] = {}
    if "s2_10b" in inputs:
        network: Any = loaded._network
        with torch.inference_mode():
            tokens = network(loaded.collate_inputs([inputs])["s2_10b"])[0]
        groups = tokens[1:].unflatten(0, (3, *encoded.grid_shape)).permute(0, 3, 1, 2)
        result |= {"tokens": (tokens.numpy(), 1e-4), "grid_per_group": (groups.numpy(), 1e-4)}
    return result
