"""DINOv2 ViT-S/14 without registers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from geobento.schemas.cards import ImageInput, ModelCard, Variant, WeightsSource
from models.base import Model
from models.optional_import import optional_import
from models.types import Config, Encoded, Tensors
from models.weights.checkpoints import CheckpointError, require_state_dict
from models.weights.initialization import on_meta

if TYPE_CHECKING:
    import torch

IMAGE_SIZE = 224
POSITION_EMBEDDINGS_KEY = "embeddings.position_embeddings"
GRID_SIZE = IMAGE_SIZE // 14

CARD = ModelCard(
    id="dino_v2_vits14",
    aliases=("dinov2_vits14", "dinov2-small", "dino-v2-vits14"),
    title="DINOv2 ViT-S/14",
    kind="on_the_fly",
    paper="Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, 2304.07193",
    summary=(
        "Self-supervised vision transformer. Its vectors group pictures by what they show and "
        "how, without labels or text; good for retrieval, near-duplicates and linear probes."
    ),
    licence="Apache-2.0",
    variants={
        "hub": Variant(
            dim=384,
            title="position table resampled as in the authors' own code",
            parameters=22_056_576,
            repository="facebook/dinov2-small",
        ),
        "transformers": Variant(
            dim=384,
            title="position table resampled as in the transformers library",
            parameters=22_056_576,
            repository="facebook/dinov2-small",
        ),
    },
    default_variant="hub",
    image=ImageInput(
        modality="image",
        size=256,
        resize="shorter_side",
        interpolation="bicubic",
        crop=IMAGE_SIZE,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        pooling="native",
    ),
    image_alternatives={
        "vitrivr": ImageInput(
            modality="image",
            size=244,
            resize="shorter_side",
            interpolation="bilinear",
            resize_in="float",
            crop=IMAGE_SIZE,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            pooling="native",
        )
    },
    pooling="class token after the final norm, not normalised",
    outputs=("pooled",),
    notes=(
        "vitrivr's server resizes to 244 and standardises with 0.5; "
        '`config: {"preprocessing": "vitrivr"}` does the same, so that an index made with it stays '
        "searchable.",
        "The transformers library resamples the position table slightly differently from the "
        "authors' code; the variants are for either.",
    ),
    weights=WeightsSource(source="facebookresearch/dinov2", licence="Apache-2.0"),
    config_schema={
        "type": "object",
        "properties": {
            "preprocessing": {
                "enum": ["native", "vitrivr"],
                "default": "native",
                "description": "`vitrivr`: as vitrivr's feature extraction server prepares "
                "pictures (resize to 244, mean and std 0.5), for indexes made with it.",
            }
        },
    },
)

HUB_BLOCK_KEYS = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "attn.proj.weight": "attention.o_proj.weight",
    "attn.proj.bias": "attention.o_proj.bias",
    "ls1.gamma": "layer_scale1.lambda1",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "mlp.fc1.weight": "mlp.fc1.weight",
    "mlp.fc1.bias": "mlp.fc1.bias",
    "mlp.fc2.weight": "mlp.fc2.weight",
    "mlp.fc2.bias": "mlp.fc2.bias",
    "ls2.gamma": "layer_scale2.lambda1",
}
"""Names in a block of the authors' file -> names in a layer of the network."""
TRANSFORMERS_ATTENTION_KEYS = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}
"""Names in the file of the transformers library -> names in the network."""


class DinoV2(Model):
    """The network of the transformers library at its one input size of 224 x 224.

    The position table, made for 518 x 518, is resampled once, when the weights are imported.
    """

    card = CARD
    requirements = ("transformers",)

    @property
    def dim(self) -> int:
        """Width of the network."""
        return int(self.config["hidden_size"])

    def network(self) -> torch.nn.Module:
        """The vision transformer."""
        transformers = optional_import("transformers")
        network: torch.nn.Module = transformers.Dinov2Model(
            transformers.Dinov2Config(**self.config)
        )
        return network

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Class token and patch tokens, all after the final norm."""
        tokens = network(pixel_values=batch["image"]).last_hidden_state
        return Encoded(tokens, (GRID_SIZE, GRID_SIZE), num_prefix_tokens=1, vector=tokens[:, 0])

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The released architecture."""
        return _build_config(hidden_size=384, num_hidden_layers=12, num_attention_heads=6)

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """The authors' file, or that of the transformers library.

        The variant says how the position table is resampled, whichever file it comes from.
        """
        arch = checkpoint_config.get("arch", checkpoint_config)
        default = cls.default_config(variant)
        config = _build_config(
            hidden_size=arch.get("hidden_size", arch.get("embed_dim", default["hidden_size"])),
            num_hidden_layers=arch.get(
                "num_hidden_layers", arch.get("depth", default["num_hidden_layers"])
            ),
            num_attention_heads=arch.get(
                "num_attention_heads", arch.get("num_heads", default["num_attention_heads"])
            ),
        )
        named = (
            _convert_hub_keys(checkpoint)
            if "pos_embed" in checkpoint
            else _convert_transformers_keys(checkpoint)
        )
        if (table := named.get(POSITION_EMBEDDINGS_KEY)) is not None:
            named[POSITION_EMBEDDINGS_KEY] = resample_position_embeddings(table, GRID_SIZE, variant)
        require_state_dict(named, on_meta(cls(config).network).state_dict(), "checkpoint of DINOv2")
        return config, named


def resample_position_embeddings(
    position_embeddings: torch.Tensor, grid_size: int, variant: str
) -> torch.Tensor:
    """A position table (1, 1 + n * n, D) for another number of patches a side.

    Args:
        position_embeddings: Class position, then n x n positions row by row.
        grid_size: Patches a side.
        variant: `hub`: by the factor (side + 0.1) / n, as the authors' code does; `transformers`:
            to the size itself. They differ slightly.
    """
    import torch
    from torch.nn import functional

    count = round((position_embeddings.shape[1] - 1) ** 0.5)
    if position_embeddings.shape[1] != 1 + count * count:
        raise CheckpointError(
            f"the position table has {position_embeddings.shape[1]} rows, not 1 + n x n"
        )
    if count == grid_size:
        return position_embeddings
    patches = position_embeddings[:, 1:].float().reshape(1, count, count, -1).permute(0, 3, 1, 2)
    if variant == "hub":
        factor = (grid_size + 0.1) / count
        patches = functional.interpolate(patches, scale_factor=(factor, factor), mode="bicubic")
    else:
        patches = functional.interpolate(patches, size=(grid_size, grid_size), mode="bicubic")
    return torch.cat(
        [position_embeddings[:, :1].float(), patches.flatten(2).transpose(1, 2)], dim=1
    )


def _build_config(*, hidden_size: int, num_hidden_layers: int, num_attention_heads: int) -> Config:
    return {
        "hidden_size": hidden_size,
        "num_hidden_layers": num_hidden_layers,
        "num_attention_heads": num_attention_heads,
        "mlp_ratio": 4,
        "image_size": IMAGE_SIZE,
        "patch_size": 14,
        "layer_norm_eps": 1e-6,
    }


def _convert_hub_keys(checkpoint: Tensors) -> Tensors:
    """Names of the authors' file to those of the network."""
    named: Tensors = {}
    fixed = {
        "cls_token": "embeddings.cls_token",
        "mask_token": "embeddings.mask_token",
        "pos_embed": POSITION_EMBEDDINGS_KEY,
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    for name, tensor in checkpoint.items():
        head, _, rest = name.partition(".")
        number, _, part = rest.partition(".")
        if head == "blocks" and part in HUB_BLOCK_KEYS:
            named[f"encoder.layer.{number}.{HUB_BLOCK_KEYS[part]}"] = tensor
        elif head == "blocks" and part in ("attn.qkv.weight", "attn.qkv.bias"):
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                kind = part.rpartition(".")[2]
                named[f"encoder.layer.{number}.attention.{letter}_proj.{kind}"] = third.contiguous()
        else:
            named[fixed.get(name, name)] = tensor
    return named


def _convert_transformers_keys(checkpoint: Tensors) -> Tensors:
    """Names of the transformers library's file to those of its network."""
    named: Tensors = {}
    for name, tensor in checkpoint.items():
        ours = name
        for old, new in TRANSFORMERS_ATTENTION_KEYS.items():
            ours = ours.replace(f".{old}.", f".{new}.")
        named[ours] = tensor
    return named
