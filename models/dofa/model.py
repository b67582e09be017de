"""DOFA: one network for any set of bands, told apart by their wavelengths."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from geobento.schemas.cards import ImageInput
from geobento.schemas.sample import Sample
from models.cards import load_card
from models.checkpoints.conversion import Checkpoint
from models.dofa.bands import check_band_options, standardized
from models.preprocessing.resampling import resize
from models.types import Config, Inputs, Tensors
from models.vit import ViTModel

if TYPE_CHECKING:
    import torch

COMMON: Config = {"img_size": 224, "patch_size": 16, "norm_eps": 1e-6, "wv_planes": 128}
RGB_WAVELENGTHS_UM = (0.665, 0.56, 0.49)
WAVELENGTHS_KEY = "wavelengths_pm"
"""Input with the wavelengths: integers, so that they survive every dtype."""


class Dofa(ViTModel):
    """A vision transformer whose patch embedding is generated from wavelengths."""

    card = load_card("dofa")
    requirements = ("timm",)
    variants = {
        "base": {"embed_dim": 768, "depth": 12, "num_heads": 12} | COMMON,
        "large": {"embed_dim": 1024, "depth": 24, "num_heads": 16} | COMMON,
    }
    checkpoint = Checkpoint(
        drop=("mask_token", "norm.weight", "norm.bias", "projector.weight", "projector.bias")
    )

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The model with the options of a request.

        Raises:
            ModelError: Bands are described in part.
        """
        check_band_options(options)
        return super().with_options(options)

    def prepare(self, sample: Sample) -> Inputs:
        """Bands on the 8-bit scale of the training data, standardized, at the input size.

        Returns:
            The modality's name: (C, S, S) float32; `wavelengths_pm`: (C,) picometers.
        """
        values, micrometers = standardized(sample, self.card, self.options)
        side = self.config["img_size"]
        return {
            sample.modality: resize(values, (side, side), "bilinear", antialias=True),
            WAVELENGTHS_KEY: np.array(_picometers(micrometers), np.int64),
        }

    def image_input(self, preprocessing: str | None = None) -> ImageInput:
        """The card's preprocessing, at the input size of these weights."""
        side = self.config["img_size"]
        return super().image_input(preprocessing).model_copy(update={"size": side, "crop": side})

    def batch_key(self, inputs: Inputs) -> Hashable:
        """Equal shapes and equal wavelengths."""
        return super().batch_key(inputs), tuple(inputs.get(WAVELENGTHS_KEY, ()))

    def network(self) -> torch.nn.Module:
        """The vision transformer with its kernel generator."""
        from models.dofa.network import DofaEncoder

        return DofaEncoder(**self.config)

    def forward(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Class token and patch tokens, not normed."""
        images = dict(batch)
        wavelengths = images.pop(WAVELENGTHS_KEY, None)
        (image,) = images.values()
        picometers = (
            _picometers(RGB_WAVELENGTHS_UM) if wavelengths is None else wavelengths[0].tolist()
        )
        tokens: torch.Tensor = network(image, tuple(picometers))
        return tokens

    def native_vector(self, network: Any, tokens: torch.Tensor) -> torch.Tensor:
        """The normed mean of the patch tokens."""
        vector: torch.Tensor = network.fc_norm(tokens[:, 1:].mean(dim=1))
        return vector

    @classmethod
    def adapt_tensors(cls, tensors: Tensors, config: Config, variant: str) -> Tensors:
        """Add `fc_norm`, which released files lack, as the reference code initializes it."""
        import torch

        width = config["embed_dim"]
        return {"fc_norm.weight": torch.ones(width), "fc_norm.bias": torch.zeros(width)} | tensors


def _picometers(micrometers: Any) -> list[int]:
    return [round(value * 1e6) for value in micrometers]
