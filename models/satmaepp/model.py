"""SatMAE++: masked autoencoders for images and for ten bands of Sentinel-2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from geobento.schemas.cards import ImageInput
from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from models.cards import load_card
from models.checkpoints.conversion import Checkpoint
from models.preprocessing import true_color
from models.satmaepp.inputs import check_checkpoint, prepare_s2
from models.types import Config, Inputs, Tensors
from models.vit import ViTModel

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

IMAGE_CONFIG: Config = {
    "img_size": 224, "patch_size": 16, "embed_dim": 1024, "depth": 24, "num_heads": 16,
    "mlp_ratio": 4.0, "norm_eps": 1e-6,
}  # fmt: skip
S2_GROUPS = [[0, 1, 2, 6], [3, 4, 5, 7], [8, 9]]
"""Bands of 10 m, of the red edge, of the short-wave infrared."""
S2_CONFIG: Config = IMAGE_CONFIG | {
    "img_size": 96, "patch_size": 8, "channel_embed": 256, "channel_groups": S2_GROUPS,
}  # fmt: skip


class SatMaePp(ViTModel):
    """The encoder of either network."""

    card = load_card("satmaepp")
    requirements = ("timm",)
    variants = {
        "bgr_vit_large": IMAGE_CONFIG | {"channels": "bgr"},
        "rgb_vit_large": IMAGE_CONFIG | {"channels": "rgb"},
        "s2_10b": S2_CONFIG | {"channels": "rgb"},
    }
    checkpoint = Checkpoint(drop=("decoder_", "mask_token", "proj_up_", "up_block"))

    @property
    def is_multispectral(self) -> bool:
        """Whether these weights read ten bands rather than images."""
        return "channel_groups" in self.config

    def modalities(self) -> tuple[str, ...]:
        """Images and true color, or ten bands."""
        return ("s2_10b",) if self.is_multispectral else ("image", "rgb")

    def image_input(self, preprocessing: str | None = None) -> ImageInput:
        """How images are prepared, if these weights read images."""
        if self.is_multispectral:
            raise ModelError(
                "these weights of satmaepp read ten bands of Sentinel-2; images need the variant "
                "bgr_vit_large or rgb_vit_large",
                field="model",
            )
        return super().image_input(preprocessing)

    def prepare(self, sample: Sample) -> Inputs:
        """Sentinel-2 as an image, or its ten bands as the reference implementation scales them."""
        if sample.modality not in self.modalities():
            raise ModelError(
                f"these weights of satmaepp read {', '.join(self.modalities())}, not "
                f"{sample.modality!r}",
                field="modality",
            )
        if self.is_multispectral:
            return {"s2_10b": prepare_s2(sample, self.card)}
        spec = self.image_input()
        return self._in_channel_order(
            {spec.modality: true_color.render_image(sample, self.card, spec)}
        )

    def prepare_image(self, image: Image, preprocessing: str | None = None) -> Inputs:
        """An image, resized and cropped, its channels in the order of these weights."""
        return self._in_channel_order(super().prepare_image(image, preprocessing))

    def _in_channel_order(self, inputs: Inputs) -> Inputs:
        """(H, W, 3), red first, in the order of these weights."""
        if self.config["channels"] == "rgb":
            return inputs
        return {name: np.ascontiguousarray(array[..., ::-1]) for name, array in inputs.items()}

    def network(self) -> torch.nn.Module:
        """The encoder."""
        from models.satmaepp import network

        sizes = {name: value for name, value in self.config.items() if name != "channels"}
        if self.is_multispectral:
            return network.GroupChannelViT(**sizes)
        return network.image_encoder(**sizes)

    def forward(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Tokens after the last norm; those of the groups at one position averaged."""
        tokens = super().forward(network, batch)
        if not self.is_multispectral:
            return tokens
        from models.satmaepp.network import mean_over_groups

        return mean_over_groups(tokens, len(self.config["channel_groups"]))

    @classmethod
    def read_config(cls, checkpoint_config: Mapping[str, Any], variant: str) -> Config:
        """Sizes as stated, with the channels of the variant."""
        config = super().read_config(checkpoint_config, variant)
        return config | {"channels": cls.variants[variant]["channels"]}

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """A released training checkpoint, of which the encoder is taken."""
        check_checkpoint(checkpoint, checkpoint_config, variant)
        return super().convert(checkpoint, checkpoint_config, variant)
