"""MOSAIKS: random convolutional features. Nothing is learned, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from geobento.schemas.cards import (
    ImageInput,
    Modality,
    ModelCard,
    Normalization,
    Variant,
    WeightsSource,
)
from geobento.schemas.sample import Sample
from geobento.schemas.specs import SensorSpec
from models.base import Model
from models.preprocessing.pixels import normalized
from models.types import Config, Encoded, Inputs, Tensors
from models.weights.checkpoints import CheckpointError, require_keys, require_shape

if TYPE_CHECKING:
    import torch

SEED = 4392
S2_BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
MODALITY_CHANNELS = {"rgb": 3, "s2": len(S2_BANDS)}
CELL_SIZE = 16

CARD = ModelCard(
    id="mosaiks",
    aliases=("rcf", "random_convolutional_features"),
    title="MOSAIKS random convolutional features",
    kind="on_the_fly",
    paper="Rolf et al., Nature Communications 12, 4392 (2021), 10.1038/s41467-021-24638-z",
    summary=(
        "Texture and colour statistics: how often each of 512 fixed random 3x3 filters responds, "
        "separately for both signs. Linear regressions on these features predict forest cover, "
        "population density, night lights and more. No learned weights."
    ),
    licence="none (no learned weights)",
    variants={
        "gaussian": Variant(
            dim=1024, title="512 zero-mean unit-norm Gaussian filters, 3x3, bias 0"
        ),
        "rolf2021": Variant(dim=8192, title="4096 filters fitted as in the paper, from a file"),
        "torchgeo": Variant(dim=4096, title="filters of torchgeo's RCF or MOSAIKS, from a file"),
    },
    default_variant="gaussian",
    image=ImageInput(modality="rgb", size=256, resize="squash", min_side=3),
    modalities={
        "s2": Modality(
            sensor=SensorSpec("COPERNICUS/S2_SR_HARMONIZED", S2_BANDS),
            units="digital numbers, reflectance x 10000",
            normalization=Normalization(
                offset=(0.0,) * len(S2_BANDS), scale=(1e-4,) * len(S2_BANDS), clip=(0.0, 1.0)
            ),
            min_pixels=3,
        )
    },
    default_modality="s2",
    pooling=(
        "area-weighted mean of the grid, which is the mean over all pixels; features are "
        "non-negative and not normalised"
    ),
    # Its features are inputs of regressions, which have to be the same wherever they are made.
    precisions=("float32",),
    feature="mean",
    weights=WeightsSource(source="seeded", revision=f"seed {SEED}", licence="none"),
    max_batch_size=16,
)


class Mosaiks(Model):
    """Fixed 3x3 filters, rectified in both signs, averaged over cells of about 16 pixels.

    The network sees an image of any size. Its map is one pixel smaller on each side, and is
    averaged over equal cells, so that the mean of the grid is the mean of the map.
    """

    card = CARD

    @property
    def dim(self) -> int:
        """Two features per filter."""
        return 2 * int(self.config["filters"])

    def prepare(self, sample: Sample) -> Inputs:
        """Sentinel-2 digital numbers / 10000, clipped to 0..1."""
        config = self.config
        return {
            "s2": normalized(sample, self.card, min_pixels=config["kernel"], clip=config["clip"])
        }

    def image_input(self, preprocessing: str | None = None) -> ImageInput:
        """Pictures as the card says; for filters from a file, at whatever size they have."""
        spec = super().image_input(preprocessing)
        if self.config["resize"]:
            return spec
        return spec.model_copy(update={"resize": "none", "min_side": self.config["kernel"]})

    def modalities(self) -> tuple[str, ...]:
        """The modalities for which there are filters."""
        return tuple(self.config["channels"])

    def network(self) -> torch.nn.Module:
        """An empty filter bank per modality."""
        from models.mosaiks.network import RandomConvolutionalFeatures

        return RandomConvolutionalFeatures(
            self.config["filters"], self.config["kernel"], self.config["channels"]
        )

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Features of every image of the batch, each on its own.

        So a vector never depends on what it shared a batch with, to the last bit.
        """
        import torch

        from models.mosaiks import network as mosaiks_network

        ((modality, images),) = batch.items()
        make_edges = (
            mosaiks_network.equal_cell_edges
            if self.config["equal_cells"]
            else mosaiks_network.fixed_cell_edges
        )
        lengths = [side - self.config["kernel"] + 1 for side in images.shape[-2:]]
        edges = [make_edges(length, self.config["cell"]) for length in lengths]
        rows, columns = (
            mosaiks_network.averaging_weights(edge, length).to(images.device)
            for edge, length in zip(edges, lengths, strict=True)
        )
        grids = torch.stack([network(modality, image, rows, columns) for image in images])
        heights, widths = (edge.diff() / edge[-1] for edge in edges)
        return Encoded(
            tokens=grids.flatten(2).transpose(1, 2),
            grid_shape=(rows.shape[0], columns.shape[0]),
            pixel_margin=(self.config["kernel"] - 1) / 2,
            area_weights=torch.outer(heights, widths).flatten().float().to(images.device),
        )

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The Gaussian variant; the others come from files alone."""
        if variant != "gaussian":
            raise CheckpointError(
                f"the filters of mosaiks {variant} are fitted to images; import them with "
                "--checkpoint FILE --config FILE"
            )
        return _build_config(
            filters=512,
            kernel=3,
            channels=MODALITY_CHANNELS,
            equal_cells=True,
            clip=True,
            resize=True,
        )

    @classmethod
    def seeded_state_dict(cls, config: Config) -> Tensors:
        """Zero-mean unit-norm Gaussian filters from a fixed seed, bias 0."""
        import torch

        from models.mosaiks.network import normalize_filters

        tensors: Tensors = {}
        for number, (modality, channels) in enumerate(sorted(config["channels"].items())):
            generator = torch.Generator("cpu").manual_seed(SEED + number)
            shape = (config["filters"], channels, config["kernel"], config["kernel"])
            filters = normalize_filters(torch.randn(shape, generator=generator))
            none = torch.zeros(config["filters"])
            tensors |= _filter_bank_tensors(modality, filters, none, none.clone())
        return tensors

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """Filters in torchgeo's layout: `weights` (K, C, k, k) and `biases` (K,).

        The variant says whose convention the biases follow: `rolf2021` subtracts them from both
        signs, `torchgeo` adds them to the response.
        """
        if variant not in {"rolf2021", "torchgeo"}:
            raise CheckpointError(
                f"filters from a file are of the variant 'rolf2021' or 'torchgeo', not {variant!r}"
            )
        require_keys(checkpoint, {"weights", "biases"}, "checkpoint of random features")
        require_shape("weights", checkpoint["weights"], (None, None, None, None))
        weights, biases = checkpoint["weights"].float(), checkpoint["biases"].float()
        filters, channels, kernel = weights.shape[0], weights.shape[1], weights.shape[-1]
        require_shape("weights", weights, (None, None, kernel, kernel))
        require_shape("biases", biases, (filters,))
        modality = {count: name for name, count in MODALITY_CHANNELS.items()}.get(channels)
        if modality is None:
            raise CheckpointError(
                f"the filters have {channels} channels; accepted: 3 (RGB) or 12 (Sentinel-2)"
            )
        arch = checkpoint_config.get("arch", {})
        if not isinstance(arch, Mapping):
            raise CheckpointError("the configuration's arch is not an object")
        features = arch.get("features", 2 * filters)
        if features != 2 * filters:
            raise CheckpointError(
                f"the configuration says {features} features, the {filters} filters give "
                f"{2 * filters}"
            )
        rolf = variant == "rolf2021"
        config = _build_config(
            filters=filters, kernel=kernel, channels={modality: channels}, equal_cells=False,
            clip=rolf,
            resize=False,
        )  # fmt: skip
        return config, _filter_bank_tensors(modality, weights, -biases if rolf else biases, -biases)


def _build_config(
    *,
    filters: int,
    kernel: int,
    channels: Mapping[str, int],
    equal_cells: bool,
    clip: bool,
    resize: bool,
) -> Config:
    """Architecture record.

    `equal_cells`: cells of equal size that cover the map exactly, instead of cells of exactly
    16 pixels of which the last may be cut off. `clip`: Sentinel-2 reflectance to 0..1.
    `resize`: pictures to the size of the card.
    """
    return {
        "filters": filters,
        "kernel": kernel,
        "channels": dict(channels),
        "cell": CELL_SIZE,
        "equal_cells": equal_cells,
        "clip": clip,
        "resize": resize,
    }


def _filter_bank_tensors(
    modality: str, weight: torch.Tensor, bias_positive: torch.Tensor, bias_negative: torch.Tensor
) -> Tensors:
    prefix = f"banks.{modality}"
    return {
        f"{prefix}.weight": weight,
        f"{prefix}.bias_positive": bias_positive,
        f"{prefix}.bias_negative": bias_negative,
    }
