"""What a model family has to say for itself; everything else lives outside it, once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from geobento.cards import ModelCard
from geobento.errors import ModelError
from geobento.sample import Sample

if TYPE_CHECKING:
    import torch

Inputs = dict[str, NDArray[Any]]
Tensors = dict[str, "torch.Tensor"]
Config = dict[str, Any]


@dataclass(frozen=True)
class Encoded:
    """What a network makes of a batch.

    Attributes:
        tokens: ``(B, prefix + h * w, D)``; grid tokens row by row, first row north.
        grid_shape: ``(h, w)``: the grid tokens are equal cells of the input.
        prefix: Tokens before those of the grid (class token, registers).
        margin: Input pixels at every side that no grid token covers.
        weights: ``(h * w,)`` shares of the area that each grid token stands for, with sum 1;
            None: all alike.
    """

    tokens: torch.Tensor
    grid_shape: tuple[int, int]
    prefix: int = 0
    margin: float = 0.0
    weights: torch.Tensor | None = None


class Model(ABC):
    """A network with its preprocessing.

    A model is made from its configuration alone and is cheap until `network` is called, so the
    process that prepares inputs needs no weights.

    Args:
        config: Architecture record as it lies in the model store beside the weights.
    """

    card: ClassVar[ModelCard]

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length D of the vectors."""

    @abstractmethod
    def prepare(self, sample: Sample) -> Inputs:
        """Bring one sample to what the network reads, exactly as the authors do; pure.

        Returns:
            Arrays by input name, without a batch axis.

        Raises:
            ModelError: The sample does not fit the model.
        """

    @abstractmethod
    def network(self) -> torch.nn.Module:
        """The network, its parameters not yet filled."""

    @abstractmethod
    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """One forward for a batch of inputs that share a batch key."""

    def batch_key(self, inputs: Inputs) -> Hashable:
        """Inputs with equal keys can be stacked into one batch; by default: equal shapes."""
        return tuple((name, inputs[name].shape) for name in sorted(inputs))

    # -- where weights come from ---------------------------------------------------------------

    @classmethod
    @abstractmethod
    def default_config(cls, variant: str) -> Config:
        """Configuration of a variant of the card."""

    @classmethod
    @abstractmethod
    def seeded(cls, config: Config) -> Tensors:
        """Reproducible random weights for a configuration."""

    @classmethod
    @abstractmethod
    def convert(cls, checkpoint: Tensors, record: Mapping[str, Any]) -> tuple[Config, Tensors]:
        """The authors' checkpoint as configuration and tensors of this network.

        Args:
            checkpoint: Tensors under the authors' names.
            record: The configuration that came with them.

        Raises:
            CheckpointError: Keys or shapes are not the expected ones.
        """

    # -- shared by all -------------------------------------------------------------------------

    def example(self, modality: str, side: int = 32) -> Sample:
        """A blank sample of a modality, for warming up."""
        image = self.card.image
        if (
            image is not None
            and modality == image.modality
            and modality not in self.card.modalities
        ):
            height, width = image.size or (side, side)
            return Sample(np.zeros((3, height, width), np.uint8), ("R", "G", "B"), modality)
        spec = self.card.modalities[modality]
        side = spec.size or max(side, spec.min_pixels)
        bands = spec.sensor.bands
        return Sample(np.zeros((len(bands), side, side), np.float32), bands, modality)

    def modalities(self) -> tuple[str, ...]:
        """Names of all inputs that these weights read."""
        named = set(self.card.modalities)
        if self.card.image is not None:
            named.add(self.card.image.modality)
        return tuple(sorted(named))


def scaled(sample: Sample, card: ModelCard) -> NDArray[np.float32]:
    """Raw pixels of satellite imagery scaled by the statistics of their modality.

    Args:
        sample: (C, H, W) raw values whose bands are those of the card's modality.
        card: The record with the statistics.

    Raises:
        ModelError: The bands are not those that the statistics belong to, or too few pixels.
    """
    spec = card.modalities[sample.modality]
    if sample.bands != spec.sensor.bands:
        raise ModelError(
            f"{card.id} reads the bands {', '.join(spec.sensor.bands)} for modality "
            f"{sample.modality!r}, in this order; got {', '.join(sample.bands)}",
            field="sensor.bands",
        )
    height, width = sample.pixels.shape[-2:]
    if min(height, width) < spec.min_pixels:
        raise ModelError(
            f"{card.id} needs at least {spec.min_pixels} x {spec.min_pixels} pixels, "
            f"got {height} x {width}; take a larger place or a smaller scale_m",
            field="spatial",
        )
    stats = spec.statistics
    offset = np.asarray(stats.offset, np.float32)[:, None, None]
    scale = np.asarray(stats.scale, np.float32)[:, None, None]
    values = (sample.pixels.astype(np.float32) - offset) * scale
    return values if stats.clip is None else np.clip(values, *stats.clip)
