"""SatMAE++: masked autoencoders for pictures and for ten bands of Sentinel-2."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import (
    ImageInput,
    Modality,
    ModelCard,
    Normalization,
    Variant,
    WeightsSource,
)
from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from geobento.schemas.specs import SensorSpec
from models.base import Model
from models.optional_import import optional_import
from models.preprocessing import true_color
from models.preprocessing.pixels import validated_pixels
from models.preprocessing.resampling import center_crop, resize, shorter_side_shape
from models.types import Config, Encoded, Inputs, Tensors
from models.weights.checkpoints import CheckpointError, require_state_dict
from models.weights.initialization import on_meta

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

S2_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
S2_MEAN = (
    1184.3824625, 1120.77120066, 1136.26026392, 1263.73947144, 1645.40315151,
    1846.87040806, 1762.59530783, 1972.62420416, 1732.16362238, 1247.91870117,
)  # fmt: skip
S2_STD = (
    650.2842772, 712.12507725, 965.23119807, 948.9819932, 1108.06650639,
    1258.36394548, 1233.1492281, 1364.38688993, 1310.36996126, 1087.6020813,
)  # fmt: skip
S2_GROUPS = ((0, 1, 2, 6), (3, 4, 5, 7), (8, 9))
"""Bands of 10 m, of the red edge, of the short-wave infrared."""
S2_SIZE, S2_RESIZE = 96, 109
"""Side that the network reads; side that the authors resize to before they crop."""

CARD = ModelCard(
    id="satmaepp",
    aliases=("satmaepp_rgb", "satmae++", "satmaepp_s2_10b"),
    title="SatMAE++",
    kind="on_the_fly",
    paper="Noman et al., Rethinking Transformers Pre-training for Multi-Spectral Satellite "
    "Imagery, 2403.05419",
    summary=(
        "Masked autoencoders that filled in what was hidden of Functional Map of the World, at "
        "several scales. One network reads aerial and satellite pictures in colour, one reads ten "
        "bands of Sentinel-2 in three groups, from blue to short-wave infrared. Made to be "
        "fine-tuned or probed; distances between its vectors are not trained to mean anything."
    ),
    licence="not verified (hub repositories of the first author; the code is Apache-2.0)",
    variants={
        "bgr_vit_large": Variant(
            dim=1024,
            title="pictures, ViT-L/16, channels as the released weights were trained: blue first",
            aliases=("satmaepp_rgb",),
            parameters=303_301_632,
            repository="mubashir04/checkpoint_ViT-L_pretrain_fmow_rgb",
            files=("checkpoint_ViT-L_pretrain_fmow_rgb.pth",),
        ),
        "rgb_vit_large": Variant(
            dim=1024,
            title="pictures, ViT-L/16, channels as in the published code: red first",
            aliases=("satmaepp_rgb",),
            parameters=303_301_632,
            repository="mubashir04/checkpoint_ViT-L_pretrain_fmow_rgb",
            files=("checkpoint_ViT-L_pretrain_fmow_rgb.pth",),
        ),
        "s2_10b": Variant(
            dim=1024,
            title="ten bands of Sentinel-2, ViT-L/8 with three groups of channels",
            aliases=("satmaepp_s2_10b",),
            parameters=303_083_008,
            repository="mubashir04/checkpoint_ViT-L_pretrain_fmow_sentinel",
            files=("checkpoint_ViT-L_pretrain_fmow_sentinel.pth",),
        ),
    },
    default_variant="rgb_vit_large",
    image=ImageInput(
        modality="image",
        size=256,
        resize="shorter_side",
        interpolation="bicubic",
        resize_in="float",
        crop=224,
        mean=(0.4182007312774658, 0.4214799106121063, 0.3991275727748871),
        std=(0.28774282336235046, 0.27541765570640564, 0.2764017581939697),
    ),
    modalities={
        "rgb": true_color.true_color_modality(size=224),
        "s2_10b": Modality(
            sensor=SensorSpec("COPERNICUS/S2_HARMONIZED", S2_BANDS),
            units="digital numbers, top-of-atmosphere reflectance x 10000; scaled values are cut "
            "to whole numbers, divided by 255, then resized (bicubic, antialiased)",
            normalization=Normalization(
                offset=tuple(m - 2 * s for m, s in zip(S2_MEAN, S2_STD, strict=True)),
                scale=tuple(255 / (4 * s) for s in S2_STD),
                clip=(0.0, 255.0),
            ),
            size=S2_SIZE,
            min_pixels=8,
        ),
    },
    pooling=(
        "mean of the patch tokens after the last norm (s2_10b: of all groups), not normalised; the "
        "grid holds the same tokens (s2_10b: averaged over the three groups), so pooled and grid "
        "are in one space. The authors publish no feature of the pre-trained networks"
    ),
    notes=(
        "The authors' README says that the released picture network was trained on channels in "
        "the order blue, green, red; their published code reads red first. The default variant "
        "follows the code; `bgr_vit_large` follows the README.",
        "The authors do not say how Sentinel-2 becomes a picture. Here as in EuroSAT: digital "
        "numbers from 0 to 2750; rs-embed takes 0 to 10000, which gives very dark pictures.",
        "Tokens are in their natural order; rs-embed's grids are shuffled by the masking step "
        "that training needs, and differ from call to call.",
        "Norms add 1e-6 to the variance as in training; rs-embed's picture network adds 1e-5.",
        "Places are resized to exactly the input size, so that the grid covers them; pictures "
        "are resized and cropped as the authors do for evaluation, which rs-embed leaves out.",
        "s2_10b reads top-of-atmosphere reflectance, as it was trained on; rs-embed gives it "
        'surface reflectance, as does "sensor" with COPERNICUS/S2_SR_HARMONIZED.',
    ),
    feature="mean",
    weights=WeightsSource(source="techmn/satmae_pp", licence="not verified"),
)

RGB_CONFIG = {
    "img_size": 224,
    "patch_size": 16,
    "embed_dim": 1024,
    "depth": 24,
    "num_heads": 16,
    "mlp_ratio": 4.0,
    "norm_eps": 1e-6,
}
S2_10B_CONFIG = RGB_CONFIG | {
    "img_size": S2_SIZE,
    "patch_size": 8,
    "channel_embed": 256,
    "channel_groups": [list(group) for group in S2_GROUPS],
}
TRAINING_ONLY_PREFIXES = ("decoder_", "mask_token", "proj_up_", "up_block")
"""What the names of the part begin with that fills in what was hidden."""


class SatMaePp(Model):
    """The encoder of either network; the part that fills in what was hidden is left out."""

    card = CARD
    requirements = ("timm",)

    @property
    def dim(self) -> int:
        """Width of the network."""
        return int(self.config["embed_dim"])

    @property
    def is_multispectral(self) -> bool:
        """Whether these weights read ten bands rather than pictures."""
        return "channel_groups" in self.config

    def modalities(self) -> tuple[str, ...]:
        """Pictures and true colour, or ten bands."""
        return ("s2_10b",) if self.is_multispectral else ("image", "rgb")

    def image_input(self, preprocessing: str | None = None) -> ImageInput:
        """How pictures are brought to these weights, if they read pictures."""
        if self.is_multispectral:
            raise ModelError(
                "these weights of satmaepp read ten bands of Sentinel-2; pictures need the variant "
                "bgr_vit_large or rgb_vit_large",
                field="model",
            )
        return super().image_input(preprocessing)

    def prepare(self, sample: Sample) -> Inputs:
        """Sentinel-2 as a picture, or its ten bands as the authors scale them."""
        if sample.modality not in self.modalities():
            raise ModelError(
                f"these weights of satmaepp read {', '.join(self.modalities())}, not "
                f"{sample.modality!r}",
                field="modality",
            )
        if self.is_multispectral:
            return {"s2_10b": _prepare_s2(sample)}
        spec = self.image_input()
        return self._reorder_channels(
            {spec.modality: true_color.render_image(sample, self.card, spec)}
        )

    def prepare_image(self, image: Image, preprocessing: str | None = None) -> Inputs:
        """A picture, resized and cropped, its channels in the order of these weights."""
        return self._reorder_channels(super().prepare_image(image, preprocessing))

    def _reorder_channels(self, inputs: Inputs) -> Inputs:
        """(H, W, 3) red first to the order of these weights."""
        if self.config["channels"] == "rgb":
            return inputs
        return {name: np.ascontiguousarray(array[..., ::-1]) for name, array in inputs.items()}

    def network(self) -> torch.nn.Module:
        """The encoder."""
        import torch

        sizes = {name: value for name, value in self.config.items() if name != "channels"}
        if self.is_multispectral:
            from models.satmaepp.network import GroupChannelViT

            return GroupChannelViT(**sizes)
        eps = sizes.pop("norm_eps")
        network: torch.nn.Module = optional_import(
            "timm.models.vision_transformer"
        ).VisionTransformer(
            **sizes,
            num_classes=0,
            global_pool="",
            norm_layer=partial(torch.nn.LayerNorm, eps=eps),
        )
        return network

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Tokens after the last norm; those of the groups at one place averaged."""
        side = self.config["img_size"] // self.config["patch_size"]
        ((_, images),) = batch.items()
        tokens = network(images)
        if self.is_multispectral:
            tokens = _mean_over_groups(tokens, len(self.config["channel_groups"]))
        return Encoded(tokens, (side, side), num_prefix_tokens=1)

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The released architecture."""
        return _build_config({}, variant)

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """A released training checkpoint, of which the encoder is taken."""
        held = "ten bands" if "channel_embed" in checkpoint else "pictures"
        wanted = "ten bands" if variant == "s2_10b" else "pictures"
        if held != wanted:
            raise CheckpointError(
                f"the checkpoint is of the network for {held}; the variant {variant!r} is the one "
                f"for {wanted}"
            )
        has_decoder, has_scales = (
            any(name.startswith(part) for name in checkpoint) for part in ("decoder_", "proj_up_")
        )
        if has_decoder and not has_scales:
            raise CheckpointError(
                "the checkpoint is of a masked autoencoder of one scale, such as SatMAE; SatMAE++ "
                "has proj_up_* beside decoder_*"
            )
        config = _build_config(checkpoint_config.get("arch", checkpoint_config), variant)
        encoder = {
            name: tensor
            for name, tensor in checkpoint.items()
            if not name.startswith(TRAINING_ONLY_PREFIXES)
        }
        require_state_dict(
            encoder, on_meta(cls(config).network).state_dict(), "checkpoint of SatMAE++"
        )
        return config, encoder


def _prepare_s2(sample: Sample) -> NDArray[np.float32]:
    """Ten bands (10, H, W) as the network reads them, (10, 96, 96), 0 to 1.

    A place is resized to exactly this size, so that the tokens cover it. What lies nowhere, such
    as a picture of a data set, is resized and cropped as the authors do.
    """
    stats = CARD.modalities["s2_10b"].normalization
    offset, scale = (np.asarray(numbers)[:, None, None] for numbers in (stats.offset, stats.scale))
    # In double precision as the authors compute it, so that no value is cut to another number.
    values = (validated_pixels(sample, CARD).astype(np.float64) - offset) * scale
    levels = np.clip(values, 0, 255).astype(np.uint8).astype(np.float32) / np.float32(255)
    if sample.grid is not None:
        return resize(levels, (S2_SIZE, S2_SIZE), "bicubic", antialias=True)
    height, width = levels.shape[-2:]
    shape = shorter_side_shape(height, width, S2_RESIZE)
    whole = resize(levels, shape, "bicubic", antialias=True)
    return np.ascontiguousarray(center_crop(whole, S2_SIZE))


def _mean_over_groups(tokens: torch.Tensor, groups: int) -> torch.Tensor:
    """(B, 1 + groups * n, D), group by group, to (B, 1 + n, D) with the mean of the groups."""
    import torch

    by_group = torch.stack(tokens[:, 1:].chunk(groups, dim=1))
    return torch.cat([tokens[:, :1], by_group.mean(dim=0)], dim=1)


def _build_config(arch: Mapping[str, Any], variant: str) -> Config:
    """Architecture record; sizes that are left out are those of the released variant."""
    sizes = S2_10B_CONFIG if variant == "s2_10b" else RGB_CONFIG
    config = {name: arch.get(name, default) for name, default in sizes.items()}
    channels = len(S2_BANDS) if variant == "s2_10b" else 3
    if arch.get("in_chans", channels) != channels:
        raise CheckpointError(
            f"the configuration says {arch['in_chans']} channels; {variant} reads {channels}"
        )
    return config | {"channels": "bgr" if variant == "bgr_vit_large" else "rgb"}
