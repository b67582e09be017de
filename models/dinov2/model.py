"""DINOv2 ViT-S/14 without registers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.cards import load_card
from models.dinov2 import checkpoint
from models.optional_import import optional_import
from models.types import Config, Tensors
from models.vit import ViTModel

if TYPE_CHECKING:
    import torch

VIT_SMALL: Config = {
    "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "mlp_ratio": 4,
    "image_size": 224, "patch_size": 14, "layer_norm_eps": 1e-6,
}  # fmt: skip
STATED_SIZES = {
    "hidden_size": "embed_dim", "num_hidden_layers": "depth", "num_attention_heads": "num_heads",
}  # fmt: skip
"""Sizes that a checkpoint's configuration may state, here and in the reference implementation."""


class DinoV2(ViTModel):
    """The network of the transformers library at its one input size of 224 x 224.

    The variant says how the position table, made for 518 x 518, is resampled at import.
    """

    card = load_card("dinov2")
    requirements = ("transformers",)
    variants = dict.fromkeys(("hub", "transformers"), VIT_SMALL)
    checkpoint = checkpoint.CHECKPOINT

    @property
    def dim(self) -> int:
        """Width of the network."""
        return int(self.config["hidden_size"])

    @property
    def grid_shape(self) -> tuple[int, int]:
        """Patches (high, wide)."""
        side = self.config["image_size"] // self.config["patch_size"]
        return side, side

    def network(self) -> torch.nn.Module:
        """The vision transformer."""
        library = optional_import("transformers")
        network: torch.nn.Module = library.Dinov2Model(library.Dinov2Config(**self.config))
        return network

    def forward(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Class token and patch tokens after the final norm."""
        tokens: torch.Tensor = network(pixel_values=batch["image"]).last_hidden_state
        return tokens

    def native_vector(self, network: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        """The class token."""
        return tokens[:, 0]

    @classmethod
    def read_config(cls, checkpoint_config: Mapping[str, Any], variant: str) -> Config:
        """Width, blocks and heads as stated; the input size is always 224."""
        stated = checkpoint_config.get("arch", checkpoint_config)
        return VIT_SMALL | {
            name: stated.get(name, stated.get(other_name, VIT_SMALL[name]))
            for name, other_name in STATED_SIZES.items()
        }

    @classmethod
    def adapt_tensors(cls, tensors: Tensors, config: Config, variant: str) -> Tensors:
        """Split query-key-value layers and resample the position table."""
        tensors = checkpoint.split_qkv(tensors)
        if (table := tensors.get(checkpoint.POSITION_TABLE)) is not None:
            side, _ = cls(config).grid_shape
            resampled = checkpoint.resample_position_table(table, side, variant)
            tensors[checkpoint.POSITION_TABLE] = resampled
        return tensors
