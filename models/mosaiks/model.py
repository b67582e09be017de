"""MOSAIKS: random convolutional features. Nothing is learned, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from geobento.schemas.cards import ImageInput
from geobento.schemas.sample import Sample
from models.base import Model
from models.cards import load_card
from models.mosaiks import filters
from models.preprocessing.pixels import normalized
from models.types import Config, Encoded, Inputs, Tensors

if TYPE_CHECKING:
    import torch


class Mosaiks(Model):
    """Fixed 3x3 filters, rectified in both signs, averaged over cells of about 16 pixels.

    Cells are equal and cover the map, so that the mean of the grid is the mean of the map.
    """

    card = load_card("mosaiks")

    @property
    def dim(self) -> int:
        """Two features per filter."""
        return 2 * int(self.config["filters"])

    def prepare(self, sample: Sample) -> Inputs:
        """Sentinel-2 digital numbers / 10000, clipped to 0..1."""
        kernel, clip = self.config["kernel"], self.config["clip"]
        return {"s2": normalized(sample, self.card, min_pixels=kernel, clip=clip)}

    def image_input(self, preprocessing: str | None = None) -> ImageInput:
        """The card's preprocessing; for filters from a file, images keep their size."""
        spec = super().image_input(preprocessing)
        if self.config["resize"]:
            return spec
        return spec.model_copy(update={"resize": "none", "min_side": self.config["kernel"]})

    def modalities(self) -> tuple[str, ...]:
        """The modalities that have filters."""
        return tuple(self.config["channels"])

    def network(self) -> torch.nn.Module:
        """An empty filter bank per modality."""
        from models.mosaiks.network import RandomConvolutionalFeatures

        return RandomConvolutionalFeatures(
            self.config["filters"], self.config["kernel"], self.config["channels"]
        )

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Features of each image on its own: not one bit of them depends on the batch."""
        from models.mosaiks.network import CellGrid

        ((modality, images),) = batch.items()
        kernel = self.config["kernel"]
        height, width = (side - kernel + 1 for side in images.shape[-2:])
        cells = CellGrid(height, width, self.config["cell"], equal=self.config["equal_cells"])
        bank: Any = network
        return Encoded(
            tokens=bank.encode_batch(modality, images, cells).flatten(2).transpose(1, 2),
            grid_shape=cells.shape,
            pixel_margin=(kernel - 1) / 2,
            area_weights=cells.area_weights.to(images.device),
        )

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The Gaussian variant; the others come from files alone."""
        return filters.default_config(variant)

    @classmethod
    def seeded_state_dict(cls, config: Config) -> Tensors:
        """Zero-mean unit-norm Gaussian filters from a fixed seed, bias 0."""
        return filters.gaussian_filters(config)

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """Filters in torchgeo's layout: `weights` (K, C, k, k) and `biases` (K,)."""
        return filters.from_file(checkpoint, checkpoint_config, variant)
