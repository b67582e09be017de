"""What a model family has to say for itself; everything else lives outside it, once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from PIL.Image import fromarray as image_from_array

from geobento.schemas.cards import ImageInput, ModelCard, TextInput
from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from models.preprocessing import bands, images
from models.preprocessing import text as preprocessing_text
from models.preprocessing.text import TokenizedText, Tokenizer

if TYPE_CHECKING:
    import torch

EXAMPLE_TIME = datetime(2021, 6, 15, tzinfo=UTC)
"""When invented samples are from."""

Inputs = dict[str, NDArray[Any]]
Tensors = dict[str, "torch.Tensor"]
Config = dict[str, Any]


@dataclass(frozen=True)
class Encoded:
    """What a network makes of a batch.

    Attributes:
        tokens: ``(B, prefix + h * w, D)``; grid tokens row by row, first row north.
        grid_shape: ``(h, w)``: the grid tokens are equal cells of the input.
        num_prefix_tokens: Tokens before those of the grid (class token, registers).
        pixel_margin: Input pixels at every side that no grid token covers.
        area_weights: ``(h * w,)`` shares of the area that each grid token stands for, with sum 1;
            None: all alike.
        vector: ``(B, D)``: the authors' own feature of the whole input, where it is not the
            mean of the grid.
        feature_map: ``(B, D, h, w)``: the grid, where it is not the tokens in rows; there may be any
            number of tokens then.
        valid: ``(B, h * w)``: False for grid tokens that there are no data for. They are NaN, and
            do not count in a mean or maximum. None: there are data for all.
    """

    tokens: torch.Tensor
    grid_shape: tuple[int, int]
    num_prefix_tokens: int = 0
    pixel_margin: float = 0.0
    area_weights: torch.Tensor | None = None
    vector: torch.Tensor | None = None
    feature_map: torch.Tensor | None = None
    valid: torch.Tensor | None = None


class Model(ABC):
    """A network with its preprocessing.

    A model is made from its configuration alone and is cheap until `network` is called, so the
    process that prepares inputs needs no weights.

    Args:
        config: Architecture record as it lies in the model store beside the weights.
        tokenizer_factory: Opens the tokenizer that lies there; None: there is none.
    """

    card: ClassVar[ModelCard]
    requirements: ClassVar[tuple[str, ...]] = ()
    """Distributions of the extra `models` that preparing and encoding need, as pip names them."""

    def __init__(
        self, config: Config, tokenizer_factory: Callable[[TextInput], Tokenizer] | None = None
    ) -> None:
        self.config = config
        self.options: Mapping[str, Any] = {}
        self._tokenizer_factory = tokenizer_factory

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length D of the vectors."""

    @property
    def vocab_size(self) -> int:
        """Tokens that the network knows; 0 for a model that reads no texts."""
        return 0

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The same model, to prepare inputs with the options of a request (`config_schema`)."""
        changed = copy(self)
        changed.options = options
        return changed

    def prepare(self, sample: Sample) -> Inputs:
        """Bring one sample to what the network reads, exactly as the authors do; pure.

        What `options` change has to show in the inputs, and in their batch key.

        Returns:
            Arrays by input name, without a batch axis.

        Raises:
            ModelError: The sample does not fit the model.
        """
        raise ModelError(f"{self.card.id} reads no satellite imagery", field="model")

    def prepare_image(self, image: Image, preprocessing: str | None = None) -> Inputs:
        """Bring one picture to the size that the network reads; pure.

        Args:
            image: The picture, 8-bit RGB.
            preprocessing: One of the card's alternatives; None: the authors' own.

        Returns:
            Pixels (H, W, 3), 0 to 255; `finished` makes the network's input of them.

        Raises:
            InvalidImage: The picture is too small.
        """
        spec = self.image_input(preprocessing)
        return {spec.modality: images.resize_and_crop(image, spec)}

    def collate(
        self, batch: Mapping[str, torch.Tensor], preprocessing: str | None = None
    ) -> dict[str, torch.Tensor]:
        """What the network reads, from a batch of prepared inputs; pure.

        Args:
            batch: Prepared inputs, stacked.
            preprocessing: That of the pictures among them.
        """
        finished = dict(batch)
        image = self.card.image
        if image is not None and image.modality in batch:
            spec = self.image_input(preprocessing)
            finished[spec.modality] = images.standardize(batch[spec.modality], spec)
        return finished

    def prepare_text(self, text: str) -> TokenizedText:
        """Bring one text to what the network reads.

        Raises:
            ModelError: The model reads no texts.
            InvalidRequest: The text is empty, or very long.
        """
        return self.tokenizer.tokenize(text)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that belongs to these weights, opened when first needed.

        Raises:
            ModelError: The model reads no texts, or its tokenizer was not imported.
        """
        if self.card.text is None:
            raise ModelError(f"{self.card.id} reads no texts", field="model")
        if self._tokenizer_factory is None:
            raise ModelError(
                f"{self.card.id} was imported without its tokenizer and reads no texts; import it "
                "again with --tokenizer tokenizer.json",
                field="model",
            )
        return self._tokenizer_factory(self.card.text)

    @property
    def logit_scale(self) -> float:
        """The learned factor on cosines between pictures and texts before a softmax.

        Raises:
            ModelError: The model has no such factor.
        """
        if "logit_scale" not in self.config:
            raise ModelError(f"{self.card.id} does not compare pictures with texts", field="model")
        return math.exp(self.config["logit_scale"])

    def image_input(self, preprocessing: str | None = None) -> ImageInput:
        """How pictures are brought to these weights.

        Raises:
            ModelError: The model reads no pictures, or not in this way.
        """
        if self.card.image is None:
            raise ModelError(f"{self.card.id} reads no pictures", field="model")
        known: dict[str | None, ImageInput] = {None: self.card.image, "native": self.card.image}
        known.update(self.card.image_alternatives)
        spec = known.get(preprocessing) if isinstance(preprocessing, str | None) else None
        if spec is None:
            raise ModelError(
                f"{self.card.id} has no preprocessing {preprocessing!r}; "
                f"accepted: {', '.join(filter(None, known))}",
                field="config.preprocessing",
            )
        return spec

    @abstractmethod
    def network(self) -> torch.nn.Module:
        """The network, its parameters not yet filled."""

    @abstractmethod
    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """One forward for a batch of inputs that share a batch key."""

    def batch_key(self, inputs: Inputs) -> Hashable:
        """Inputs with equal keys can be stacked into one batch; by default: equal shapes."""
        return tuple((name, inputs[name].shape, inputs[name].dtype.str) for name in sorted(inputs))

    # -- where weights come from ---------------------------------------------------------------

    @classmethod
    @abstractmethod
    def default_config(cls, variant: str) -> Config:
        """Configuration of a variant of the card."""

    @classmethod
    def seeded_state_dict(cls, config: Config) -> Tensors:
        """Reproducible random weights for a configuration: as the network is initialised."""
        from models.weights.initialization import random_state_dict

        return random_state_dict(cls(config))

    @classmethod
    @abstractmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """The authors' checkpoint as configuration and tensors of this network.

        Args:
            checkpoint: Tensors under the authors' names.
            checkpoint_config: The configuration that came with them; empty where none did.
            variant: Variant of the card.

        Raises:
            CheckpointError: Keys or shapes are not the expected ones.
        """

    # -- shared by all -------------------------------------------------------------------------

    def example_inputs(self, modality: str, side: int = 32, seed: int = 0) -> Inputs:
        """Inputs of an invented picture, text or sample, for warming up and measuring."""
        random = np.random.default_rng(seed)
        if self.card.image is not None and modality == self.card.image.modality:
            coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            return self.prepare_image(image_from_array(coarse).resize((side, side)))
        if self.card.text is not None and modality == self.card.text.modality:
            return preprocessing_text.example_inputs(self.card.text, self.vocab_size, random)
        spec = self.card.modalities[modality]
        side = spec.size or max(side, spec.min_pixels)
        shape = (len(spec.sensor.bands), side, side)
        pixels = random.integers(100, 4000, shape).astype(np.float32)
        # Some models do not do without a date.
        return self.prepare(Sample(pixels, spec.sensor.bands, modality, times=(EXAMPLE_TIME,)))

    def modalities(self) -> tuple[str, ...]:
        """Names of all inputs that these weights read."""
        named = set(self.card.modalities)
        if self.card.image is not None:
            named.add(self.card.image.modality)
        if self.card.text is not None and self._tokenizer_factory is not None:
            named.add(self.card.text.modality)
        return tuple(sorted(named))


def validated_pixels(
    sample: Sample,
    card: ModelCard,
    *,
    min_pixels: int = 1,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> NDArray[Any]:
    """Raw pixels of satellite imagery that a model can read.

    Args:
        sample: (..., H, W) raw values of bands that the card's modality has.
        card: The record.
        min_pixels: Smallest height and width that these weights need, if more than the card says.
        options: Options of the model, which may describe further bands.

    Returns:
        The sample's pixels as they are.

    Raises:
        ModelError: The bands are others than the modality's, or too few pixels.
    """
    bands.check_bands(card, sample.modality, sample.bands, options)
    height, width = sample.pixels.shape[-2:]
    least = max(card.modalities[sample.modality].min_pixels, min_pixels)
    if min(height, width) < least:
        raise ModelError(
            f"{card.id} needs at least {least} x {least} pixels, "
            f"got {height} x {width}; take a larger place or a smaller scale_m",
            field="spatial",
        )
    return sample.pixels


def normalized(
    sample: Sample, card: ModelCard, *, min_pixels: int = 1, clip: bool = True
) -> NDArray[np.float32]:
    """Raw pixels of satellite imagery scaled by the statistics of their modality.

    Args:
        sample: (..., C, H, W) raw values of bands that the card's modality has.
        card: The record with the statistics.
        min_pixels: Smallest height and width that these weights need, if more than the card says.
        clip: Whether the statistics' bounds are applied.

    Raises:
        ModelError: The bands are not those that the statistics belong to, or too few pixels.
    """
    pixels = validated_pixels(sample, card, min_pixels=min_pixels).astype(np.float32)
    spec = card.modalities[sample.modality]
    chosen = [spec.bands.index(band) for band in sample.bands]

    def of_bands(numbers: tuple[float, ...]) -> NDArray[np.float32]:
        return np.asarray(numbers, np.float32)[chosen, None, None]

    stats = spec.normalization
    values = (pixels - of_bands(stats.offset)) * of_bands(stats.scale)
    if stats.clip is not None and clip:
        values = np.clip(values, *stats.clip)
    if stats.mean:
        values = values - of_bands(stats.mean)
    return values / of_bands(stats.std) if stats.std else values
