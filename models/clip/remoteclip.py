"""RemoteCLIP: CLIP trained further on aerial and satellite pictures with captions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from geobento.schemas.cards import ModelCard, TextInput, Variant, WeightsSource
from geobento.schemas.sample import Sample
from models.clip.base import OpenClipModel
from models.clip.preprocessing import CLIP_IMAGE_INPUT, INITIAL_LOGIT_SCALE
from models.optional_import import optional_import
from models.preprocessing import true_color
from models.types import Config, Encoded, Inputs, Tensors
from models.weights.checkpoints import CheckpointError, require_state_dict, strip_prefix
from models.weights.initialization import on_meta

if TYPE_CHECKING:
    import torch

CARD = ModelCard(
    id="remoteclip",
    aliases=("remoteclip_s2rgb",),
    title="RemoteCLIP",
    kind="on_the_fly",
    paper="Liu et al., RemoteCLIP: A Vision Language Foundation Model for Remote Sensing, "
    "2306.11029",
    summary=(
        "CLIP trained further on aerial and satellite pictures: vectors of pictures lie near those "
        "of texts that describe them, such as 'a busy airport with many airplanes'. It was trained "
        "on pictures of about a metre or less per pixel; Sentinel-2 is outside of what it knows "
        "best."
    ),
    licence="Apache-2.0 (of the repository; none is stated for the weights alone)",
    variants={
        "vit_b_32": Variant(
            dim=512,
            title="ViT-B/32",
            parameters=151_277_313,
            repository="chendelong/RemoteCLIP",
            files=("RemoteCLIP-ViT-B-32.pt",),
        ),
        "vit_l_14": Variant(
            dim=768,
            title="ViT-L/14",
            parameters=427_616_513,
            repository="chendelong/RemoteCLIP",
            files=("RemoteCLIP-ViT-L-14.pt",),
        ),
        "rn50": Variant(
            dim=1024,
            title="residual network with attention over its map, CLIP's RN50",
            parameters=102_007_137,
            repository="chendelong/RemoteCLIP",
            files=("RemoteCLIP-RN50.pt",),
        ),
    },
    default_variant="vit_b_32",
    image=CLIP_IMAGE_INPUT,
    text=TextInput(
        max_tokens=77,
        begin=49406,
        end=49407,
        pad=0,
        tokenizer_repository="openai/clip-vit-large-patch14",
    ),
    modalities={"s2_rgb": true_color.true_color_modality(size=224)},
    pooling=(
        "class token after the last norm (rn50: attention over the map), projected into the space "
        "shared with texts; of unit length for pictures and texts, as it is for places. The grid, "
        "and mean and max of it, are tokens before the last norm (rn50: the last map): another "
        "space of another length"
    ),
    notes=(
        "The authors do not say how Sentinel-2 becomes a picture. Here as in EuroSAT: digital "
        "numbers from 0 to 2750; rs-embed takes 0 to 10000, which gives very dark pictures.",
        "Places are resized to exactly 224 x 224, so that the grid covers them and the vector does "
        "not depend on their shape; rs-embed answers for places that are not square with the mean "
        "of tokens that are not projected, in another space. Pictures are cropped as the authors "
        "do.",
        "The authors' examples load the network with the exact GELU, and so does this service; "
        "their retrieval script ends up with CLIP's approximation. A configuration with "
        '`"quick_gelu": true`, given with --config at import, takes the latter.',
        "rs-embed does not scale the vectors of pictures to unit length; the authors do, before "
        "they compare them.",
    ),
    weights=WeightsSource(source="ChenDelong1999/RemoteCLIP", licence="Apache-2.0"),
)

VISION_CONFIGS: dict[str, dict[str, Any]] = {
    "vit_b_32": {"layers": 12, "width": 768, "head_width": 64, "patch_size": 32},
    "vit_l_14": {"layers": 24, "width": 1024, "head_width": 64, "patch_size": 14},
    "rn50": {"layers": [3, 4, 6, 3], "width": 64, "head_width": 64, "patch_size": None},
}
TEXT_WIDTHS = {"vit_b_32": 512, "vit_l_14": 768, "rn50": 512}
STEM_VARIANTS = {32: "vit_b_32", 14: "vit_l_14", 3: "rn50"}
"""Side of the first convolution's kernels -> variant."""
WRAPPER_PREFIX = "model."
"""Of every name in a copy of the weights that wraps the network."""


class RemoteClip(OpenClipModel):
    """The network of the open_clip library, whose names are those of the released files."""

    card = CARD
    requirements = ("ftfy", "open_clip_torch", "tokenizers")

    def prepare(self, sample: Sample) -> Inputs:
        """Sentinel-2 in true colour, then as a picture."""
        spec = self.image_input()
        return {spec.modality: true_color.render_image(sample, self.card, spec)}

    def network(self) -> torch.nn.Module:
        """Vision and text tower."""
        network: torch.nn.Module = optional_import("open_clip").CLIP(
            embed_dim=self.config["embed_dim"],
            vision_cfg=self.config["vision"],
            text_cfg=self.config["text"],
            quick_gelu=self.config["quick_gelu"],
            init_logit_scale=self.config["logit_scale"],
        )
        return network

    @staticmethod
    def encode_texts(clip: Any, ids: torch.Tensor) -> Encoded:
        """Tokens after the last norm, and the projected token of the end."""
        from models.clip import towers

        return towers.encode_texts(clip, ids)

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The released architecture."""
        return _build_config({}, variant)

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """A released file, or a copy of it that wraps the network."""
        named = strip_prefix(checkpoint, WRAPPER_PREFIX)
        held = _detect_variant(named)
        if held is not None and held != variant:
            raise CheckpointError(f"the checkpoint is of the variant {held!r}, not {variant!r}")
        config = _build_config(checkpoint_config.get("arch", checkpoint_config), variant)
        require_state_dict(
            named, on_meta(cls(config).network).state_dict(), "checkpoint of RemoteCLIP"
        )
        return config | {"logit_scale": float(named["logit_scale"])}, named


def _detect_variant(tensors: Tensors) -> str | None:
    """The variant that a file is of, told by its first layer."""
    stem = tensors.get("visual.conv1.weight")
    return None if stem is None or stem.ndim != 4 else STEM_VARIANTS.get(stem.shape[-1])


def _build_config(arch: Mapping[str, Any], variant: str) -> Config:
    """Architecture record; sizes that are left out are those of the released variant."""
    vision = {"image_size": 224} | VISION_CONFIGS[variant]
    width = TEXT_WIDTHS[variant]
    text = {
        "context_length": 77,
        "vocab_size": 49408,
        "width": width,
        "heads": width // 64,
        "layers": 12,
    }
    given_vision, given_text = arch.get("vision_cfg", {}), arch.get("text_cfg", {})
    return {
        "embed_dim": arch.get("embed_dim", CARD.variants[variant].dim),
        "logit_scale": INITIAL_LOGIT_SCALE,
        "quick_gelu": bool(arch.get("quick_gelu", False)),
        "vision": {name: given_vision.get(name, default) for name, default in vision.items()},
        "text": {name: given_text.get(name, default) for name, default in text.items()},
    }
