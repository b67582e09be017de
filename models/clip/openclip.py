"""OpenCLIP ViT-B/32 with the multilingual text tower XLM-RoBERTa."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson

from models.cards import load_card
from models.checkpoints.conversion import Checkpoint, stated_sizes
from models.clip.base import INITIAL_LOGIT_SCALE, OpenClipModel
from models.optional_import import optional_import
from models.types import Config, Encoded

if TYPE_CHECKING:
    import torch

IMAGE_TOWER: Config = {
    "image_size": 224, "patch_size": 32, "width": 768, "layers": 12, "head_width": 64
}  # fmt: skip
TEXT_TOWER: Config = {
    "vocab_size": 250_002, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "max_position_embeddings": 514,
}  # fmt: skip
TEXT_CONSTANTS: Config = {
    "model_type": "xlm-roberta", "hidden_act": "gelu", "layer_norm_eps": 1e-5,
    "type_vocab_size": 1, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


class OpenClipXlmRoberta(OpenClipModel):
    """The network of the open_clip library, whose names the released file has."""

    card = load_card("clip", "openclip")
    requirements = ("ftfy", "open_clip_torch", "tokenizers", "transformers")
    # A counter that some files have beside the weights.
    checkpoint = Checkpoint(drop=("text.transformer.embeddings.position_ids",))

    def network(self) -> torch.nn.Module:
        """Image and text tower."""
        library = optional_import("open_clip")
        # The library reads the text tower's sizes from a folder, or asks the hub for them.
        with TemporaryDirectory() as folder:
            text_config = orjson.dumps({**TEXT_CONSTANTS, **self.config["text"]})
            (Path(folder) / "config.json").write_bytes(text_config)
            network: torch.nn.Module = library.CustomTextCLIP(
                embed_dim=self.config["embed_dim"],
                vision_cfg=self.config["vision"],
                text_cfg={
                    "hf_model_name": folder,
                    "hf_model_pretrained": False,
                    "hf_pooler_type": "mean_pooler",
                    "hf_proj_type": "mlp",
                },
                init_logit_scale=self.config["logit_scale"],
            )
        text_tower: Any = network.text
        text_tower.output_tokens = True
        return network

    @staticmethod
    def encode_texts(clip: Any, ids: torch.Tensor) -> Encoded:
        """Tokens of the text tower, and their mean after the projection."""
        vector, tokens = clip.text(ids)
        return Encoded(tokens, (1, tokens.shape[1]), vector=vector)

    @classmethod
    def read_config(cls, checkpoint_config: Mapping[str, Any], variant: str) -> Config:
        """The sizes of both towers; those that a configuration leaves out are the released ones."""
        stated = checkpoint_config.get(
            "model_cfg", checkpoint_config.get("arch", checkpoint_config)
        )
        return {
            "embed_dim": stated.get("embed_dim", 512),
            "logit_scale": INITIAL_LOGIT_SCALE,
            "vision": stated_sizes(stated.get("vision_cfg", {}), IMAGE_TOWER),
            "text": stated_sizes(stated.get("hf_text_config", {}), TEXT_TOWER),
        }
