"""DOFA: one network for any set of bands, told apart by their wavelengths."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

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
from models.preprocessing.pixels import normalized, validated_pixels
from models.preprocessing.resampling import resize
from models.types import Config, Encoded, Inputs, Tensors
from models.weights.checkpoints import require_state_dict
from models.weights.initialization import on_meta

if TYPE_CHECKING:
    import torch

S2_WAVELENGTHS_UM = {
    "B4": 0.665, "B3": 0.56, "B2": 0.49, "B5": 0.705, "B6": 0.74, "B7": 0.783, "B8": 0.842,
    "B11": 1.61, "B12": 2.19,
}  # fmt: skip
S2_BANDS = tuple(S2_WAVELENGTHS_UM)
S1_BANDS = ("VH", "VV")
RGB_WAVELENGTHS_UM = (0.665, 0.56, 0.49)
TRUE_COLOR_SCALE = 255 / 3558
"""Digital numbers to 8 bits as in ESA's true colour image: 255 is a reflectance of 0.3558."""
OTHER_BANDS_SCALE = 1 / 32
"""Digital numbers to 8 bits in the training data, for all other bands."""
AMPLITUDE_SCALE = 600.0
"""Square root of power to the numbers of an uncalibrated wide swath scene, about."""
WAVELENGTHS_OPTION = "wavelengths_um"
BAND_OPTIONS = (WAVELENGTHS_OPTION, "mean", "std")
"""Options that together describe bands; one value per band each."""

CARD = ModelCard(
    id="dofa",
    title="DOFA",
    kind="on_the_fly",
    paper="Xiong et al., Neural Plasticity-Inspired Multimodal Foundation Model for Earth "
    "Observation, 2403.15356",
    summary=(
        "A masked autoencoder trained on optical, radar and hyperspectral imagery together. Its "
        "first layer is generated from the wavelengths of the bands, so one network reads any "
        "set of bands, in any number."
    ),
    licence="CC-BY-4.0 (as third parties say)",
    variants={
        "base": Variant(
            dim=768,
            title="ViT-B/16 at 224 pixels",
            parameters=111_310_000,
            repository="earthflow/DOFA",
            files=("DOFA_ViT_base_e100.pth",),
        ),
        "large": Variant(
            dim=1024,
            title="ViT-L/16 at 224 pixels",
            parameters=337_110_000,
            repository="earthflow/DOFA",
            files=("DOFA_ViT_large_e100.pth",),
        ),
    },
    default_variant="base",
    image=ImageInput(
        modality="rgb",
        size=224,
        resize="shorter_side",
        crop=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        pooling="native",
    ),
    modalities={
        "s2": Modality(
            sensor=SensorSpec("COPERNICUS/S2_SR_HARMONIZED", S2_BANDS),
            units="digital numbers, reflectance x 10000, brought to 8 bits as the training data "
            "(0.3558 is 255 in B4, B3, B2; 0.816 in the others)",
            normalization=Normalization(
                offset=(0.0,) * 9,
                scale=(TRUE_COLOR_SCALE,) * 3 + (OTHER_BANDS_SCALE,) * 6,
                clip=(0.0, 255.0),
                mean=(
                    114.1099739,
                    114.81779093,
                    126.63977424,
                    84.33539309,
                    97.84789168,
                    103.94461911,
                    101.435633,
                    72.32804172,
                    56.66528851,
                ),
                std=(
                    77.84352553,
                    69.96844919,
                    67.42465279,
                    64.57022983,
                    61.72545487,
                    61.34187099,
                    60.29744676,
                    47.88519516,
                    42.55886798,
                ),
            ),
            selectable_bands=S2_BANDS,
            band_options=WAVELENGTHS_OPTION,
            wavelengths_um=S2_WAVELENGTHS_UM,
            size=224,
        ),
        "s1": Modality(
            sensor=SensorSpec("COPERNICUS/S1_GRD_FLOAT", S1_BANDS, cloudy_pct=None),
            units=f"linear power, brought to 8 bits as {AMPLITUDE_SCALE:g} times its square root",
            normalization=Normalization(
                offset=(0.0, 0.0),
                scale=(AMPLITUDE_SCALE, AMPLITUDE_SCALE),
                clip=(0.0, 255.0),
                mean=(166.36275909, 88.45542715),
                std=(64.83126309, 43.07350145),
            ),
            selectable_bands=S1_BANDS,
            band_options=WAVELENGTHS_OPTION,
            wavelengths_um={"VH": 5.405, "VV": 5.405},
            size=224,
        ),
    },
    default_modality="s2",
    pooling=(
        "the authors' feature is the layer norm of the mean of the patch tokens (without learned "
        "scale, which the released file lacks); mean, max and grid are of the patch tokens after "
        "the last block, not normed"
    ),
    notes=(
        "The network was trained on Sentinel-2 Level-1C (`COPERNICUS/S2_HARMONIZED`), with ESA's "
        "8-bit true colour image for B4, B3, B2; both levels are scaled as that data was. rs-embed "
        "multiplies all bands by 255 / 10000, which darkens them by a fifth to nearly two thirds.",
        "rs-embed norms the pooled vector with the file's `norm`, which belongs to the training's "
        "autoencoder, and does not norm it at all where the place is not square; here it is in "
        "one space always.",
        "Places are resized to the input size (bilinear, antialiased), whatever their shape; the "
        "authors crop at random in training and prescribe nothing else.",
        "Sentinel-1 was trained on amplitudes of uncalibrated scenes cut off at 255. They are made "
        f"up here as {AMPLITUDE_SCALE:g} times the square root of power, which holds for wide swath "
        "scenes to about a tenth.",
        "The authors' code names the Sentinel-1 statistics VH, VV, and so it is here; on real "
        "scenes they fit better the other way round (VH comes out near -1.5). Both bands have the "
        "same wavelength (the authors put 5.405, the frequency in GHz), and so the same kernels.",
    ),
    weights=WeightsSource(source="zhu-xlab/DOFA", licence="CC-BY-4.0 (as third parties say)"),
    config_schema={
        "type": "object",
        "properties": {
            WAVELENGTHS_OPTION: {
                "type": "array",
                "items": {"type": "number", "minimum": 0.01, "maximum": 1000},
                "description": "Places: micrometres of each band of `sensor.bands`, for bands "
                "that the card does not know; with `mean` and `std`.",
            },
            "mean": {
                "type": "array",
                "items": {"type": "number"},
                "description": "Subtracted from each of these bands, in raw units.",
            },
            "std": {
                "type": "array",
                "items": {"type": "number", "minimum": 1e-12},
                "description": "Each of these bands is divided by it afterwards.",
            },
        },
    },
)

ARCHITECTURES: dict[str, Config] = {
    "base": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "large": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
}
COMMON_CONFIG = {"img_size": 224, "patch_size": 16, "norm_eps": 1e-6, "wv_planes": 128}

IGNORED_KEYS = ("mask_token", "norm.weight", "norm.bias", "projector.weight", "projector.bias")
"""Parts of the authors' training that their own encoder does not read."""
WAVELENGTHS_KEY = "wavelengths_pm"


class Dofa(Model):
    """A vision transformer behind a first layer that is made from wavelengths."""

    card = CARD
    requirements = ("timm",)

    @property
    def dim(self) -> int:
        """Width of the network."""
        return int(self.config["embed_dim"])

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The model with the description of bands that the card does not know, if there is one.

        Raises:
            ModelError: The description is not whole.
        """
        given = [name for name in BAND_OPTIONS if name in options]
        if given and len(given) < len(BAND_OPTIONS):
            missing = next(name for name in BAND_OPTIONS if name not in options)
            raise ModelError(
                f"bands are described by {', '.join(BAND_OPTIONS)} together, got {given[0]} "
                f"without {missing}",
                field=f"model_config.{missing}",
            )
        return super().with_options(options)

    def prepare(self, sample: Sample) -> Inputs:
        """Bands on the 8-bit scale of the training data, standardised, at the input size.

        Returns:
            The modality's name: (C, S, S) float32; `picometres`: (C,) wavelengths.
        """
        if WAVELENGTHS_OPTION in self.options:
            values, micrometres = self._normalize_by_options(sample)
        else:
            wavelengths = self.card.modalities[sample.modality].wavelengths_um
            pixels = sample.pixels
            if sample.modality == "s1":
                pixels = np.sqrt(np.maximum(pixels, 0))
            values = normalized(replace(sample, pixels=pixels), self.card)
            micrometres = [wavelengths[band] for band in sample.bands]
        side = self.config["img_size"]
        return {
            sample.modality: resize(values, (side, side), "bilinear", antialias=True),
            WAVELENGTHS_KEY: np.array([round(value * 1e6) for value in micrometres], np.int64),
        }

    def _normalize_by_options(self, sample: Sample) -> tuple[NDArray[np.float32], list[float]]:
        """Pixels standardised, and wavelengths, as the request says."""
        pixels = validated_pixels(sample, self.card, options=self.options).astype(np.float32)
        for name in BAND_OPTIONS:
            if (count := len(self.options[name])) != len(sample.bands):
                raise ModelError(
                    f"{name} has {count} values, the sensor {len(sample.bands)} bands",
                    field=f"model_config.{name}",
                )
        mean, std = (
            np.array(self.options[name], np.float32)[:, None, None] for name in ("mean", "std")
        )
        return (pixels - mean) / std, list(self.options[WAVELENGTHS_OPTION])

    def image_input(self, preprocessing: str | None = None) -> ImageInput:
        """Pictures as the card says, at the size of these weights."""
        side = self.config["img_size"]
        return super().image_input(preprocessing).model_copy(update={"size": side, "crop": side})

    def batch_key(self, inputs: Inputs) -> Hashable:
        """Equal shapes and equal wavelengths."""
        return super().batch_key(inputs), tuple(inputs.get(WAVELENGTHS_KEY, ()))

    def network(self) -> torch.nn.Module:
        """The vision transformer with its kernel generator."""
        from models.dofa.network import DofaEncoder as Network

        return Network(**self.config)

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Class token and patch tokens, not normed; the normed mean of the patch tokens."""
        dofa: Any = network
        ((_, image),) = ((name, array) for name, array in batch.items() if name != WAVELENGTHS_KEY)
        if WAVELENGTHS_KEY in batch:
            picometres = tuple(batch[WAVELENGTHS_KEY][0].tolist())
        else:
            picometres = tuple(round(value * 1e6) for value in RGB_WAVELENGTHS_UM)
        tokens = dofa(image, picometres)
        vector = dofa.fc_norm(tokens[:, 1:].mean(dim=1))
        return Encoded(tokens, (dofa.grid_size, dofa.grid_size), num_prefix_tokens=1, vector=vector)

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The released architecture."""
        return ARCHITECTURES[variant] | COMMON_CONFIG

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """The released file, whose names are those of the network.

        It has no `fc_norm`; the authors' own code then leaves it as it is made.
        """
        import torch

        arch = checkpoint_config.get("arch", checkpoint_config)
        default = cls.default_config(variant)
        config = {name: arch.get(name, value) for name, value in default.items()}
        named = {
            name: value.float() for name, value in checkpoint.items() if name not in IGNORED_KEYS
        }
        named.setdefault("fc_norm.weight", torch.ones(config["embed_dim"]))
        named.setdefault("fc_norm.bias", torch.zeros(config["embed_dim"]))
        require_state_dict(
            named, on_meta(cls(config).network).state_dict(), f"checkpoint of DOFA {variant}"
        )
        return config, named
