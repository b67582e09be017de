"""Cases of RemoteCLIP: images, also with the other activation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from inference import pooling
from inference.engines.torch import TorchModel
from models.base import Model
from models.types import Encoded, Inputs


def prepared(model: Model, arrays: Mapping[str, Any], record: Mapping[str, Any]) -> Inputs:
    """The case's image."""
    return model.prepare_image(Image.fromarray(arrays["rgb_u8"]))


def stages(loaded: TorchModel, inputs: Inputs, encoded: Encoded) -> dict[str, Any]:
    """Tokens after the last norm, and the feature with CLIP's approximate GELU."""
    network: Any = loaded._network
    model = type(loaded.model)(loaded.model.config | {"quick_gelu": True})
    quick = model.network()
    quick.load_state_dict(network.state_dict(), strict=True)
    vector = pooling.pool(TorchModel(model, quick).encode([inputs]), "native")[0].numpy()
    result = {"embedding_quickgelu": (vector / np.linalg.norm(vector), 1e-4)}
    if encoded.num_prefix_tokens:
        with torch.inference_mode():
            tokens = network.visual.ln_post(encoded.tokens)[0].numpy()
        result["tokens_ln_post"] = (tokens, 1e-4)
    return result
