"""OpenCLIP ViT-B/32 with the multilingual text tower XLM-RoBERTa."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import orjson

from geobento.schemas.cards import ModelCard, TextInput, Variant, WeightsSource
from models.clip.base import OpenClipModel
from models.clip.preprocessing import CLIP_IMAGE_INPUT, INITIAL_LOGIT_SCALE
from models.optional_import import optional_import
from models.types import Config, Encoded, Tensors
from models.weights.checkpoints import require_state_dict
from models.weights.initialization import on_meta

if TYPE_CHECKING:
    import torch

CARD = ModelCard(
    id="open_clip_vit_b32",
    aliases=("open-clip-vit-b32", "xlm-roberta-base-vit-b-32"),
    title="OpenCLIP ViT-B/32, XLM-RoBERTa",
    kind="on_the_fly",
    paper="Cherti et al., Reproducible scaling laws for contrastive language-image learning, "
    "2212.07143",
    summary=(
        "Trained on the pictures and captions of LAION-5B, in about a hundred languages: vectors "
        "of pictures lie near those of texts that describe them, whatever the language."
    ),
    licence="MIT",
    variants={
        "laion5b_s13b_b90k": Variant(
            dim=512,
            title="ViT-B/32 at 224 pixels, LAION-5B",
            parameters=366_121_473,
            repository="laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k",
            files=("open_clip_pytorch_model.bin",),
        )
    },
    default_variant="laion5b_s13b_b90k",
    image=CLIP_IMAGE_INPUT,
    text=TextInput(
        max_tokens=77,
        begin=0,
        end=2,
        pad=1,
        tokenizer_repository="FacebookAI/xlm-roberta-base",
    ),
    pooling="class token after the last norm, projected into the space shared with texts",
    outputs=("pooled",),
    notes=(
        "vitrivr's server classifies without the learned scale, so that all probabilities are "
        "nearly alike; the authors and this service multiply by it.",
    ),
    weights=WeightsSource(source="mlfoundations/open_clip", licence="MIT"),
)

IGNORED_KEYS = ("text.transformer.embeddings.position_ids",)
"""A counter that some files carry beside the weights."""
VISION_CONFIG = {"image_size": 224, "patch_size": 32, "width": 768, "layers": 12, "head_width": 64}
TEXT_CONFIG = {
    "vocab_size": 250_002,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
}
TEXT_CONSTANTS = {
    "model_type": "xlm-roberta",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "type_vocab_size": 1,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}


class OpenClipXlmRoberta(OpenClipModel):
    """The network of the open_clip library, whose names are those of the released file."""

    card = CARD
    requirements = ("ftfy", "open_clip_torch", "tokenizers", "transformers")

    def network(self) -> torch.nn.Module:
        """Vision and text tower."""
        open_clip = optional_import("open_clip")
        # The library reads the text tower's sizes from a folder, or asks the hub for them.
        with TemporaryDirectory() as folder:
            text = orjson.dumps({**TEXT_CONSTANTS, **self.config["text"]})
            (Path(folder) / "config.json").write_bytes(text)
            network: torch.nn.Module = open_clip.CustomTextCLIP(
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
    def default_config(cls, variant: str) -> Config:
        """The released architecture."""
        return _build_config({}, {}, 512)

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """The released file, whose names are those of the network."""
        arch = checkpoint_config.get("model_cfg", checkpoint_config.get("arch", checkpoint_config))
        config = _build_config(
            arch.get("hf_text_config", {}), arch.get("vision_cfg", {}), arch.get("embed_dim", 512)
        )
        named = {name: tensor for name, tensor in checkpoint.items() if name not in IGNORED_KEYS}
        require_state_dict(
            named, on_meta(cls(config).network).state_dict(), "checkpoint of OpenCLIP"
        )
        return config | {"logit_scale": float(named["logit_scale"])}, named


def _build_config(text: Mapping[str, Any], vision: Mapping[str, Any], embed_dim: int) -> Config:
    """Architecture record; sizes that are left out are those of the released model."""
    return {
        "embed_dim": embed_dim,
        "logit_scale": INITIAL_LOGIT_SCALE,
        "vision": {name: vision.get(name, default) for name, default in VISION_CONFIG.items()},
        "text": {name: text.get(name, default) for name, default in TEXT_CONFIG.items()},
    }
