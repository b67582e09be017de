"""THOR: Sentinel-1 and Sentinel-2, each band at its own resolution, patches of any size."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import Modality, ModelCard, Normalization, Variant, WeightsSource
from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from geobento.schemas.specs import SensorSpec
from models.base import Model
from models.preprocessing.pixels import normalized
from models.preprocessing.resampling import resize
from models.types import Config, Encoded, Inputs, Tensors
from models.weights.checkpoints import require_state_dict
from models.weights.initialization import on_meta

if TYPE_CHECKING:
    import torch

    from models.thor.network import BandGroup

S2_STATS = {
    "B2": (0.176620, 0.264520, 10),
    "B3": (0.195923, 0.252949, 10),
    "B4": (0.213948, 0.259180, 10),
    "B5": (0.263378, 0.272771, 20),
    "B6": (0.300818, 0.248175, 20),
    "B7": (0.313144, 0.235432, 20),
    "B8": (0.308133, 0.226434, 10),
    "B8A": (0.320993, 0.223274, 20),
    "B11": (0.221550, 0.171606, 20),
    "B12": (0.175772, 0.156223, 20),
    "B1": (0.182569, 0.282463, 60),
    "B9": (0.322589, 0.235857, 60),
}
"""Mean and standard deviation of the reflectance, and the band's own pixel in metres."""
S1_STATS = {
    "VV": (-12.9850, 5.0062, 10),
    "VH": (-20.6958, 5.8688, 10),
    "HH": (-13.9485, 6.8015, 10),
    "HV": (-22.4575, 6.9106, 10),
}
"""Mean and standard deviation in decibels, and the pixel in metres."""
NATIVE_PIXEL_M = {band: row[2] for band, row in (S2_STATS | S1_STATS).items()}
Z_SCORE_LIMITS = (-5.0, 5.0)
DEFAULT_PATCH_SIZE = 8
MAX_PATCHES_PER_SIDE = 36
"""Patches of the finest bands along a side at most; the authors' examples have as many."""


def _z_score_normalization(
    bands: Mapping[str, tuple[float, float, int]], unit: float
) -> Normalization:
    return Normalization(
        offset=tuple(mean / unit for mean, _, _ in bands.values()),
        scale=tuple(unit / std for _, std, _ in bands.values()),
        clip=Z_SCORE_LIMITS,
    )


CARD = ModelCard(
    id="thor",
    aliases=("thor_1_0_base",),
    title="THOR 1.0",
    kind="on_the_fly",
    paper="THOR, 2601.16011",
    summary=(
        "A vision transformer trained on Sentinel-1, 2 and 3 together. Every group of bands has "
        "patches at its own resolution, and the side of a patch is free: smaller ones show more "
        "and cost more."
    ),
    licence="not stated",
    variants={
        size: Variant(
            dim=dim,
            title=title,
            parameters=parameters,
            repository=f"FM4CS/THOR-1.0-{size}",
            files=(f"thor_v1_vit_{size}.pt",),
        )
        for size, dim, title, parameters in (
            ("tiny", 192, "12 blocks, 3 heads", 7_610_000),
            ("small", 384, "12 blocks, 6 heads", 25_830_000),
            ("base", 768, "12 blocks, 12 heads", 94_140_000),
            ("large", 1024, "24 blocks, 16 heads", 314_400_000),
        )
    },
    default_variant="base",
    modalities={
        "s2": Modality(
            sensor=SensorSpec("COPERNICUS/S2_SR_HARMONIZED", tuple(S2_STATS)[:10]),
            units="digital numbers, reflectance x 10000",
            normalization=_z_score_normalization(S2_STATS, 1e-4),
            selectable_bands=tuple(S2_STATS),
            min_pixels=16,
        ),
        "s1": Modality(
            sensor=SensorSpec("COPERNICUS/S1_GRD_FLOAT", ("VV", "VH"), cloudy_pct=None),
            units="linear power, brought to decibels",
            normalization=_z_score_normalization(S1_STATS, 1.0),
            selectable_bands=tuple(S1_STATS),
            min_pixels=16,
        ),
    },
    default_modality="s2",
    pooling=(
        "mean of the tokens of all groups of bands after the last block, not normed (the authors "
        "have no vector of their own); the grid is the mean over the groups, brought to the finest "
        "(bilinear), and mean and max are of its cells"
    ),
    notes=(
        "Places are brought to a whole number of patches of the coarsest band (bilinear), and to "
        f"{MAX_PATCHES_PER_SIDE} patches a side at most; the network is told the ground size that a patch "
        "then has. rs-embed crops.",
        "Sentinel-1 is standardised in decibels, as the authors do; rs-embed takes the logarithm "
        "of power and divides by the image's own 99th percentile.",
        "Values are cut off at 5 standard deviations, not at a reflectance of 1 as in rs-embed.",
        "Pixels without data become the mean of the others of their band, as in the training.",
        "The vector weighs all tokens alike, whatever the shape of the place; rs-embed takes the "
        "mean of the grid where the place is not square, which weighs the groups otherwise.",
        "B1 and B9 are read where the sensor names them; rs-embed never does.",
    ),
    weights=WeightsSource(source="FM4CS/THOR", licence="not stated"),
    required_metadata=("pixel_size",),
    config_schema={
        "type": "object",
        "properties": {
            "patch_size": {
                "type": "integer",
                "minimum": 4,
                "maximum": 32,
                "default": DEFAULT_PATCH_SIZE,
                "description": "Places: side of a patch in pixels of its band; the grid has as "
                "many cells as the place has patches.",
            }
        },
    },
    max_batch_size=8,
)

ARCHITECTURES: dict[str, Config] = {
    "tiny": {"embed_dim": 192, "depth": 12, "num_heads": 3, "band_embed_dim": 32},
    "small": {"embed_dim": 384, "depth": 12, "num_heads": 6, "band_embed_dim": 64},
    "base": {"embed_dim": 768, "depth": 12, "num_heads": 12, "band_embed_dim": 128},
    "large": {"embed_dim": 1024, "depth": 24, "num_heads": 16, "band_embed_dim": 256},
}

COMMON_CONFIG = {"norm_eps": 1e-6}

ENCODER_PREFIX = "encoder."
KERNELS_PREFIX = "ind_patch_embed.patch_embed."
SENTINEL_3_PREFIXES = (
    f"{ENCODER_PREFIX}{KERNELS_PREFIX}S3:",
    *(f"{ENCODER_PREFIX}band_embed.group{number}" for number in range(5, 10)),
)
"""Begins of the names of what reads Sentinel-3 in the authors' file."""
CHECKPOINT_BANDS = {
    "S2:Red": "B4", "S2:Green": "B3", "S2:Blue": "B2", "S2:NIR": "B8", "S2:RE1": "B5",
    "S2:RE2": "B6", "S2:RE3": "B7", "S2:RE4": "B8A", "S2:SWIR1": "B11", "S2:SWIR2": "B12",
    "S2:CoastAerosal": "B1", "S2:WaterVapor": "B9", "S1:VV": "VV", "S1:VH": "VH", "S1:HV": "HV",
    "S1:HH": "HH",
}  # fmt: skip
"""Names in the authors' file, and ours."""
IGNORED_KEY_PARTS = ("decoder_", "decode_", "pos_embed")
"""Parts of names that the authors' own loader ignores, too."""

BANDS_KEY, PATCH_SIZE_KEY, PIXEL_SIZE_KEY = "bands", "patch", "pixel_mm"


class Thor(Model):
    """A vision transformer over groups of bands."""

    card = CARD
    requirements = ("timm",)

    @property
    def dim(self) -> int:
        """Width of the network."""
        return int(self.config["embed_dim"])

    def prepare(self, sample: Sample) -> Inputs:
        """Z-scores at the resolution of the sample, whole patches high and wide.

        Samples of further modalities in `extras` are read together with it.

        Returns:
            Each modality's name: (C, H, W) float32; `bands`: (C, 2) of all channels, their
            position in the network's list of bands and pixels of the image along a pixel of
            theirs; `patch`: side in pixels; `pixel_mm`: ground size of the image's pixels.
        """
        from models.thor import network as thor_network

        samples = (sample, *sample.extras.values())
        scores = {one.modality: _standardize(one) for one in samples}
        height, width = sample.pixels.shape[-2:]
        if any(values.shape[-2:] != (height, width) for values in scores.values()):
            raise ModelError("all modalities of a place need the same pixel grid", field="spatial")
        patch = int(self.options.get("patch_size", DEFAULT_PATCH_SIZE))
        pixel_m = _pixel_size_m(sample)
        bands = [band for one in samples for band in one.bands]
        steps = [max(1, round(NATIVE_PIXEL_M[band] / pixel_m)) for band in bands]
        shape = _patch_aligned_shape((height, width), patch, max(steps))
        pixel_m *= (height * width / (shape[0] * shape[1])) ** 0.5
        inputs = {
            name: resize(values, shape, "bilinear", antialias=True)
            for name, values in scores.items()
        }
        codes = [thor_network.BANDS.index(band) for band in bands]
        return inputs | {
            BANDS_KEY: np.array([codes, steps], np.int64).T.copy(),
            PATCH_SIZE_KEY: np.array(patch, np.int64),
            PIXEL_SIZE_KEY: np.array(round(pixel_m * 1000), np.int64),
        }

    def batch_key(self, inputs: Inputs) -> Hashable:
        """Equal shapes, equal bands and equal patches."""
        return super().batch_key(inputs), inputs[BANDS_KEY].tobytes(), int(inputs[PATCH_SIZE_KEY])

    def network(self) -> torch.nn.Module:
        """The encoder, without the parts that read Sentinel-3."""
        from models.thor.network import ThorEncoder as Network

        return Network(**self.config)

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Tokens of all groups, their mean, and their map at the resolution of the finest."""
        from models.thor.network import merge_groups

        image, parts = self.stack_channels(batch)
        patch = int(batch[PATCH_SIZE_KEY][0])
        tokens, shapes = network(image, parts, patch, batch[PIXEL_SIZE_KEY] / 1000)
        grid = merge_groups(tokens, shapes).mean(dim=1)
        shape = grid.shape[2], grid.shape[3]
        return Encoded(tokens, shape, vector=tokens.mean(dim=1), feature_map=grid)

    @staticmethod
    def stack_channels(batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, list[BandGroup]]:
        """The image (B, C, H, W) of a batch, and what its channels are."""
        import torch

        from models.thor import network as thor_network

        image = torch.cat([batch[name] for name in CARD.modalities if name in batch], dim=1)
        codes, steps = batch[BANDS_KEY][0].T.tolist()
        return image, thor_network.group_bands([thor_network.BANDS[code] for code in codes], steps)

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The released architecture."""
        return ARCHITECTURES[variant] | COMMON_CONFIG

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """The authors' file: the encoder, of which what reads Sentinel-3 is left out."""
        arch = checkpoint_config.get("arch", checkpoint_config)
        default = ARCHITECTURES.get(variant, ARCHITECTURES[CARD.default_variant]) | COMMON_CONFIG
        config = {name: arch.get(name, value) for name, value in default.items()}
        named = {
            _convert_key(name.removeprefix(ENCODER_PREFIX)): tensor.float()
            for name, tensor in checkpoint.items()
            if not name.startswith(SENTINEL_3_PREFIXES)
            and not any(part in name for part in IGNORED_KEY_PARTS)
        }
        require_state_dict(
            named, on_meta(cls(config).network).state_dict(), f"checkpoint of THOR {variant}"
        )
        return config, named


def _convert_key(name: str) -> str:
    """The network's name for a tensor of the authors' encoder."""
    if not name.startswith(KERNELS_PREFIX):
        return name
    band, _, kind = name.removeprefix(KERNELS_PREFIX).rpartition(".")
    return f"kernels.{CHECKPOINT_BANDS.get(band, band)}.{kind}"


def _pixel_size_m(sample: Sample) -> float:
    """Ground size of a pixel, metres."""
    if sample.grid is None:
        return CARD.modalities[sample.modality].sensor.scale_m
    width, height = sample.grid.resolution
    return float((width * height) ** 0.5)


def _patch_aligned_shape(
    shape: tuple[int, int], patch_size: int, downsampling: int
) -> tuple[int, int]:
    """(height, width) nearest to a shape in whole patches of bands with pixels `downsampling` as large."""
    unit = patch_size * downsampling
    most = max(1, MAX_PATCHES_PER_SIDE * patch_size // unit) * unit
    shrink = min(1.0, most / max(shape))
    height, width = (max(1, round(side * shrink / unit)) * unit for side in shape)
    return height, width


def _standardize(sample: Sample) -> NDArray[np.float32]:
    """Z-scores (C, H, W); pixels without data become the mean of the others of their band."""
    if sample.modality == "s1":
        power = np.where(sample.pixels > 0, sample.pixels, np.nan)
        sample = replace(sample, pixels=10 * np.log10(power))
    scores = normalized(sample, CARD, clip=False)
    missing = ~np.isfinite(scores)
    if sample.valid is not None:
        missing |= ~sample.valid
    sums = np.where(missing, 0, scores).sum(axis=(-2, -1), keepdims=True, dtype=np.float64)
    counts = np.maximum((~missing).sum(axis=(-2, -1), keepdims=True), 1)
    return np.clip(np.where(missing, (sums / counts).astype(np.float32), scores), *Z_SCORE_LIMITS)
