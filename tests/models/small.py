"""Small models of the real families, with random weights, in the model store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geobento.schemas.sample import PixelGrid
from inference.engine import LoadedModel
from inference.engines.torch import TorchModel
from inference.importing import save_model
from inference.types import EncodeItem
from models.anysat.model import AnySat
from models.base import Model
from models.clip.openai import Clip
from models.clip.openclip import OpenClipXlmRoberta
from models.clip.remoteclip import RemoteClip
from models.dinov2.model import DinoV2
from models.dofa.model import Dofa
from models.galileo.model import Galileo
from models.preprocessing import text
from models.satmaepp.model import SatMaePp
from models.thor.model import Thor
from models.types import Inputs, Tensors
from models.weights.converted_model import ConvertedModel
from models.weights.stored_model import StoredModel

SIZES: dict[type[Model], dict[str, Any]] = {
    AnySat: {"embed_dim": 48, "depth": 1, "num_heads": 4, "mlp_in": [16, 24, 48]},
    Clip: {
        "projection_dim": 24,
        "text_config": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
        | {"intermediate_size": 32, "projection_dim": 24},
        "vision_config": {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
        | {"intermediate_size": 48, "projection_dim": 24},
    },
    DinoV2: {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2},
    Dofa: {"embed_dim": 16, "depth": 1, "num_heads": 2, "img_size": 32},
    Galileo: {"embedding_size": 32, "depth": 1, "num_heads": 2},
    OpenClipXlmRoberta: {
        "embed_dim": 20,
        "vision": {"width": 32, "layers": 2, "head_width": 16},
        "text": {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 2}
        | {"num_attention_heads": 2, "intermediate_size": 32},
    },
    Thor: {"embed_dim": 16, "depth": 1, "num_heads": 2, "band_embed_dim": 4},
    RemoteClip: {
        "embed_dim": 20,
        "vision": {"width": 32, "layers": 2, "head_width": 16},
        "text": {"width": 16, "heads": 2, "layers": 2},
    },
    SatMaePp: {"embed_dim": 24, "channel_embed": 8, "depth": 2, "num_heads": 2},
}


def config(cls: type[Model], variant: str | None = None) -> dict[str, Any]:
    """The released architecture of a variant with small sizes, where there are some."""
    sizes = SIZES.get(cls, {})
    released = cls.default_config(variant or cls.card.default_variant)
    return {
        name: value | sizes.get(name, {}) if isinstance(value, dict) else sizes.get(name, value)
        for name, value in released.items()
    }


def loaded(model: Model) -> TorchModel:
    """A model with random weights."""
    network = model.network()
    network.load_state_dict(type(model).seeded_state_dict(model.config), strict=True)
    return TorchModel(model, network)


def vectors(model: LoadedModel, batch: Sequence[Inputs]) -> list[NDArray[np.float32]]:
    """The native vector of each input, of one batch."""
    results = model.run([EncodeItem(inputs=inputs, pooling="native") for inputs in batch])
    assert all(result.error is None for result in results)
    return [result.data for result in results]


def spoilt(checkpoint: Tensors, name: str, shape: tuple[int, ...] | None) -> Tensors:
    """A checkpoint without an entry or, with a shape, with zeros instead of it or beside it."""
    rest = {key: tensor for key, tensor in checkpoint.items() if key != name}
    if shape is None:
        assert len(rest) < len(checkpoint)
        return rest
    return rest | {name: torch.zeros(shape)}


def utm(height: int, width: int, pixel: float = 10.0, left: float = 5e5) -> PixelGrid:
    """A pixel grid in zone 32."""
    return PixelGrid("EPSG:32632", (pixel, 0.0, left, 0.0, -pixel, 5e6), height, width)


def stored(
    cls: type[Model], *, variant: str | None = None, with_tokenizer: bool = True
) -> StoredModel:
    """A small model of a family in the model store, its tokenizer one of bytes."""
    small = config(cls, variant)
    spec = cls.card.text if with_tokenizer else None
    return save_model(
        ConvertedModel(
            cls,
            small,
            cls.seeded_state_dict(small),
            variant=variant or cls.card.default_variant,
            weights="dummy",
            source="seeded",
            tokenizer=None if spec is None else text.dummy_tokenizer_json(spec),
        )
    )
