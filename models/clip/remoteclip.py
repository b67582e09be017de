"""RemoteCLIP: CLIP trained further on aerial and satellite images with captions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from geobento.schemas.sample import Sample
from models.cards import load_card
from models.checkpoints.conversion import stated_sizes
from models.checkpoints.files import CheckpointError, strip_prefix
from models.clip.base import INITIAL_LOGIT_SCALE, OpenClipModel
from models.optional_import import optional_import
from models.preprocessing import true_color
from models.types import Config, Inputs, Tensors

if TYPE_CHECKING:
    import torch

IMAGE_TOWERS: dict[str, Config] = {
    "vit_b_32": {"layers": 12, "width": 768, "head_width": 64, "patch_size": 32},
    "vit_l_14": {"layers": 24, "width": 1024, "head_width": 64, "patch_size": 14},
    "rn50": {"layers": [3, 4, 6, 3], "width": 64, "head_width": 64, "patch_size": None},
}
TEXT_WIDTHS = {"vit_b_32": 512, "vit_l_14": 768, "rn50": 512}
STEM_VARIANTS = {32: "vit_b_32", 14: "vit_l_14", 3: "rn50"}
"""Side of the first convolution's kernels -> variant."""


class RemoteClip(OpenClipModel):
    """The network of the open_clip library, whose names the released files have."""

    card = load_card("clip", "remoteclip")
    requirements = ("ftfy", "open_clip_torch", "tokenizers")

    def prepare(self, sample: Sample) -> Inputs:
        """Sentinel-2 in true color, then as an image."""
        spec = self.image_input()
        return {spec.modality: true_color.render_image(sample, self.card, spec)}

    def network(self) -> torch.nn.Module:
        """Image and text tower."""
        network: torch.nn.Module = optional_import("open_clip").CLIP(
            embed_dim=self.config["embed_dim"],
            vision_cfg=self.config["vision"],
            text_cfg=self.config["text"],
            quick_gelu=self.config["quick_gelu"],
            init_logit_scale=self.config["logit_scale"],
        )
        return network

    @classmethod
    def read_config(cls, checkpoint_config: Mapping[str, Any], variant: str) -> Config:
        """The sizes of both towers; those that a configuration leaves out are the released ones."""
        stated = checkpoint_config.get("arch", checkpoint_config)
        width = TEXT_WIDTHS[variant]
        text = {
            "context_length": 77, "vocab_size": 49408, "width": width, "heads": width // 64,
            "layers": 12,
        }  # fmt: skip
        vision = {"image_size": 224} | IMAGE_TOWERS[variant]
        return {
            "embed_dim": stated.get("embed_dim", cls.card.variants[variant].dim),
            "logit_scale": INITIAL_LOGIT_SCALE,
            "quick_gelu": bool(stated.get("quick_gelu", False)),
            "vision": stated_sizes(stated.get("vision_cfg", {}), vision),
            "text": stated_sizes(stated.get("text_cfg", {}), text),
        }

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """A released file, or a copy whose names begin with `model.`, of this variant."""
        tensors = strip_prefix(checkpoint, "model.")
        file_variant = _detect_variant(tensors)
        if file_variant not in (None, variant):
            raise CheckpointError(
                f"the checkpoint is of the variant {file_variant!r}, not {variant!r}"
            )
        return super().convert(tensors, checkpoint_config, variant)


def _detect_variant(tensors: Tensors) -> str | None:
    """The variant of a file by the kernels of its first layer; None: none that is known."""
    stem = tensors.get("visual.conv1.weight")
    return None if stem is None or stem.ndim != 4 else STEM_VARIANTS.get(stem.shape[-1])
