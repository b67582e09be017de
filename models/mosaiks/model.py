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
from models.weights.checkpoints import CheckpointError

if TYPE_CHECKING:
    import torch


class Mosaiks(Model):
    """Fixed 3x3 filters, rectified in both signs, averaged over cells of about 16 pixels.

    The network reads images of any size. Its map is one pixel smaller on each side, and is
    averaged over equal cells, so that the mean of the grid is the mean of the map.
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
        """Features of every image of the batch, each on its own.

        So a vector does not depend on the batch it is in, to the last bit.
        """
        import torch

        from models.mosaiks.network import CellGrid

        ((modality, images),) = batch.items()
        kernel, cell, equal = (self.config[name] for name in ("kernel", "cell", "equal_cells"))
        height, width = (side - kernel + 1 for side in images.shape[-2:])
        cells = CellGrid(height, width, cell, equal=equal)
        rows, columns = (weights.to(images.device) for weights in cells.averaging_weights)
        grids = torch.stack([network(modality, image, rows, columns) for image in images])
        return Encoded(
            tokens=grids.flatten(2).transpose(1, 2),
            grid_shape=cells.shape,
            pixel_margin=(kernel - 1) / 2,
            area_weights=cells.area_weights.to(images.device),
        )

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """The Gaussian variant; the others come from files alone."""
        if variant != "gaussian":
            raise CheckpointError(
                f"the filters of mosaiks {variant} are fitted to images; import them with "
                "--checkpoint FILE --config FILE"
            )
        return dict(filters.GAUSSIAN_CONFIG)

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
