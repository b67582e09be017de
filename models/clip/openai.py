"""OpenAI CLIP ViT-L/14."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from geobento.schemas.cards import ModelCard, TextInput, Variant, WeightsSource
from models.base import Model
from models.clip.preprocessing import CLIP_IMAGE_INPUT, INITIAL_LOGIT_SCALE
from models.optional_import import optional_import
from models.types import Config, Encoded, Tensors
from models.weights.checkpoints import require_state_dict
from models.weights.initialization import on_meta

if TYPE_CHECKING:
    import torch

CARD = ModelCard(
    id="clip_vit_large_patch14",
    aliases=("clip-vit-large-patch14", "clip_vit_l_14"),
    title="CLIP ViT-L/14",
    kind="on_the_fly",
    paper="Radford et al., Learning Transferable Visual Models From Natural Language Supervision, "
    "2103.00020",
    summary=(
        "Trained on pictures with their captions: vectors of pictures lie near those of texts "
        "that describe them. Good for search and for grouping by meaning."
    ),
    licence="MIT",
    variants={
        "vit_l_14": Variant(
            dim=768,
            title="ViT-L/14 at 224 pixels",
            parameters=427_616_513,
            repository="openai/clip-vit-large-patch14",
        )
    },
    default_variant="vit_l_14",
    image=CLIP_IMAGE_INPUT,
    text=TextInput(
        max_tokens=77,
        begin=49406,
        end=49407,
        pad=49407,
        tokenizer_repository="openai/clip-vit-large-patch14",
    ),
    pooling="class token after the last norm, projected into the space shared with texts",
    outputs=("pooled",),
    notes=(
        "vitrivr's server classifies without the learned scale (about 100), so that all "
        "probabilities are nearly alike; the authors and this service multiply by it.",
        "The transformers library's current picture processor differs from the authors' by up to "
        "0.015 in standardised units; the pictures here are theirs exactly.",
    ),
    weights=WeightsSource(source="openai/CLIP", licence="MIT"),
)

IGNORED_KEYS = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")
"""Counters that the released file carries beside its weights."""

TEXT_CONFIG = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
}
VISION_CONFIG = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "image_size": 224,
    "patch_size": 14,
}
COMMON_CONFIG = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}


class Clip(Model):
    """Both towers of the transformers library's network, so that a file fits as it is."""

    card = CARD
    requirements = ("ftfy", "tokenizers", "transformers")

    @property
    def dim(self) -> int:
        """Width of the space that pictures and texts share."""
        return int(self.config["projection_dim"])

    @property
    def vocab_size(self) -> int:
        """Tokens that the text tower knows."""
        return int(self.config["text_config"]["vocab_size"])

    def network(self) -> torch.nn.Module:
        """Vision and text tower."""
        transformers = optional_import("transformers")
        config = transformers.CLIPConfig(
            projection_dim=self.config["projection_dim"],
            text_config=self.config["text_config"],
            vision_config=self.config["vision_config"],
            logit_scale_init_value=self.config["logit_scale"],
        )
        network: torch.nn.Module = transformers.CLIPModel(config)
        return network

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Pictures: tokens before the last norm, and the projected class token.

        Texts: tokens after the last norm, and the projected token of the end.
        """
        clip: Any = network
        if "text" in batch:
            read = clip.text_model(input_ids=batch["text"])
            vector = clip.text_projection(read.pooler_output)
            return Encoded(read.last_hidden_state, (1, batch["text"].shape[1]), vector=vector)
        seen = clip.vision_model(pixel_values=batch["image"])
        vision = self.config["vision_config"]
        side = vision["image_size"] // vision["patch_size"]
        vector = clip.visual_projection(seen.pooler_output)
        return Encoded(seen.last_hidden_state, (side, side), num_prefix_tokens=1, vector=vector)

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The released architecture."""
        return _build_config(TEXT_CONFIG, VISION_CONFIG, 768, INITIAL_LOGIT_SCALE)

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """The released file, whose names are those of the network."""
        arch = checkpoint_config.get("arch", checkpoint_config)
        config = _build_config(
            arch.get("text_config", TEXT_CONFIG),
            arch.get("vision_config", VISION_CONFIG),
            arch.get("projection_dim", 768),
            INITIAL_LOGIT_SCALE,
        )
        named = {name: tensor for name, tensor in checkpoint.items() if name not in IGNORED_KEYS}
        require_state_dict(named, on_meta(cls(config).network).state_dict(), "checkpoint of CLIP")
        return config | {"logit_scale": float(named["logit_scale"])}, named


def _build_config(
    text: Mapping[str, Any], vision: Mapping[str, Any], projection_dim: int, logit_scale: float
) -> Config:
    """Architecture record with the sizes of both towers and nothing else.

    Sizes that a configuration leaves out are those of the released model.
    """
    return {
        "projection_dim": projection_dim,
        "logit_scale": logit_scale,
        "text_config": {
            **{name: text.get(name, default) for name, default in TEXT_CONFIG.items()},
            **COMMON_CONFIG,
            "projection_dim": projection_dim,
            # As released: the feature is then taken where the highest token id stands.
            "eos_token_id": 2,
        },
        "vision_config": {
            **{name: vision.get(name, default) for name, default in VISION_CONFIG.items()},
            **COMMON_CONFIG,
            "projection_dim": projection_dim,
        },
    }
