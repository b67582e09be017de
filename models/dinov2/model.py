"""DINOv2 ViT-S/14 without registers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.cards import load_card
from models.dinov2.positions import resample_position_table
from models.optional_import import optional_import
from models.types import Config, Tensors
from models.vit import ViTModel
from models.weights.conversion import Checkpoint

if TYPE_CHECKING:
    import torch

VIT_SMALL: Config = {
    "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "mlp_ratio": 4,
    "image_size": 224, "patch_size": 14, "layer_norm_eps": 1e-6,
}  # fmt: skip
HUB_CONFIG_KEYS = {
    "hidden_size": "embed_dim", "num_hidden_layers": "depth", "num_attention_heads": "num_heads",
}  # fmt: skip
"""Sizes that are read from a checkpoint's configuration, and their names in the reference one."""
POSITION_TABLE = "embeddings.position_embeddings"


class DinoV2(ViTModel):
    """The network of the transformers library at its one input size of 224 x 224.

    Checkpoints of the reference implementation and of the library are read. The variant says how
    the position table, made for 518 x 518, is resampled at import.
    """

    card = load_card("dinov2")
    requirements = ("transformers",)
    variants = dict.fromkeys(("hub", "transformers"), VIT_SMALL)
    checkpoint = Checkpoint(
        rename={
            "cls_token": "embeddings.cls_token",
            "mask_token": "embeddings.mask_token",
            "pos_embed": POSITION_TABLE,
            "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
            "blocks.": "encoder.layer.",
            "norm.": "layernorm.",
        },
        replace={
            ".attn.proj.": ".attention.o_proj.",
            ".ls1.gamma": ".layer_scale1.lambda1",
            ".ls2.gamma": ".layer_scale2.lambda1",
            ".attention.attention.query.": ".attention.q_proj.",
            ".attention.attention.key.": ".attention.k_proj.",
            ".attention.attention.value.": ".attention.v_proj.",
            ".attention.output.dense.": ".attention.o_proj.",
        },
    )

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
            name: stated.get(name, stated.get(hub_name, VIT_SMALL[name]))
            for name, hub_name in HUB_CONFIG_KEYS.items()
        }

    @classmethod
    def adapt_tensors(cls, tensors: Tensors, config: Config, variant: str) -> Tensors:
        """Split the reference implementation's query-key-value layers; resample the positions."""
        adapted: Tensors = {}
        for name, tensor in tensors.items():
            if ".attn.qkv." not in name:
                adapted[name] = tensor
                continue
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                layer = name.replace(".attn.qkv.", f".attention.{letter}_proj.")
                adapted[layer] = third.contiguous()
        if POSITION_TABLE in adapted:
            grid_size, _ = cls(config).grid_shape
            adapted[POSITION_TABLE] = resample_position_table(
                adapted[POSITION_TABLE], grid_size, variant
            )
        return adapted
