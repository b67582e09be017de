"""OpenAI CLIP ViT-L/14."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.cards import load_card
from models.checkpoints.conversion import Checkpoint, stated_sizes
from models.clip.base import INITIAL_LOGIT_SCALE, ClipModel
from models.optional_import import optional_import
from models.types import Config, Encoded

if TYPE_CHECKING:
    import torch

TEXT_TOWER: Config = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "vocab_size": 49408, "max_position_embeddings": 77,
}  # fmt: skip
IMAGE_TOWER: Config = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
    "intermediate_size": 4096, "image_size": 224, "patch_size": 14,
}  # fmt: skip
COMMON: Config = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}


class Clip(ClipModel):
    """Both towers of the transformers library's network, whose names the released file has."""

    card = load_card("clip", "openai")
    requirements = ("ftfy", "tokenizers", "transformers")
    checkpoint = Checkpoint(
        # Counters that the released file has beside its weights.
        drop=("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")
    )

    @property
    def dim(self) -> int:
        """Width of the space that images and texts share."""
        return int(self.config["projection_dim"])

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary of the text tower."""
        return int(self.config["text_config"]["vocab_size"])

    def network(self) -> torch.nn.Module:
        """Image and text tower."""
        library = optional_import("transformers")
        sizes = {name: value for name, value in self.config.items() if name != "logit_scale"}
        config = library.CLIPConfig(**sizes, logit_scale_init_value=self.config["logit_scale"])
        network: torch.nn.Module = library.CLIPModel(config)
        return network

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Images: tokens before the last norm, and the projected class token.

        Texts: tokens after the last norm, and the projected end token.
        """
        clip: Any = network
        if "text" in batch:
            texts = clip.text_model(input_ids=batch["text"])
            vector = clip.text_projection(texts.pooler_output)
            return Encoded(texts.last_hidden_state, (1, batch["text"].shape[1]), vector=vector)
        images = clip.vision_model(pixel_values=batch["image"])
        class_token = images.pooler_output
        tower = self.config["vision_config"]
        side = tower["image_size"] // tower["patch_size"]
        return Encoded(
            tokens=images.last_hidden_state,
            grid_shape=(side, side),
            num_prefix_tokens=1,
            vector=clip.visual_projection(class_token),
            class_token=class_token,
        )

    @classmethod
    def read_config(cls, checkpoint_config: Mapping[str, Any], variant: str) -> Config:
        """The sizes of both towers; those that a configuration leaves out are the released ones."""
        stated = checkpoint_config.get("arch", checkpoint_config)
        common = COMMON | {"projection_dim": stated.get("projection_dim", 768)}
        text, vision = (stated.get(name, {}) for name in ("text_config", "vision_config"))
        return {
            "projection_dim": common["projection_dim"],
            "logit_scale": INITIAL_LOGIT_SCALE,
            # As released; the vector is then taken at the highest token id.
            "text_config": stated_sizes(text, TEXT_TOWER) | common | {"eos_token_id": 2},
            "vision_config": stated_sizes(vision, IMAGE_TOWER) | common,
        }
