"""Base class of models: a family states its card, network and inputs; the rest is written here."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from copy import copy
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from PIL.Image import Image
from PIL.Image import fromarray as image_from_array

from geobento.schemas.cards import ImageInput, ModelCard, TextInput
from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from models.checkpoints.conversion import Checkpoint
from models.checkpoints.files import require_state_dict
from models.checkpoints.initialization import on_meta, random_state_dict
from models.preprocessing import images
from models.preprocessing import text as preprocessing_text
from models.preprocessing.text import TokenizedText, Tokenizer
from models.types import Config, Encoded, Inputs, Tensors

if TYPE_CHECKING:
    import torch

EXAMPLE_TIME = datetime(2021, 6, 15, tzinfo=UTC)
"""Acquisition time of example samples."""


class Model(ABC):
    """A network with its preprocessing.

    An instance is made from its configuration alone and is cheap until `network` is called, so a
    process that only prepares inputs needs no weights.

    Args:
        config: Architecture, as stored beside the weights.
        tokenizer_factory: Opens the tokenizer stored there; None: there is none.
    """

    card: ClassVar[ModelCard]
    variants: ClassVar[Mapping[str, Config]] = {}
    """Architecture of each variant of the card."""
    checkpoint: ClassVar[Checkpoint] = Checkpoint()
    """How a released checkpoint becomes the state dict of the network."""
    requirements: ClassVar[tuple[str, ...]] = ()
    """Distributions of the extra `models` that preparing and encoding need, by their pip names."""

    def __init__(
        self, config: Config, tokenizer_factory: Callable[[TextInput], Tokenizer] | None = None
    ) -> None:
        self.config = config
        self.options: Mapping[str, Any] = {}
        self._tokenizer_factory = tokenizer_factory

    # -- to be stated by a family --------------------------------------------------------------

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length D of the vectors."""

    @abstractmethod
    def network(self) -> torch.nn.Module:
        """The network, its parameters not yet loaded."""

    @abstractmethod
    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """One forward pass for a batch of inputs that share a batch key."""

    def prepare(self, sample: Sample) -> Inputs:
        """Prepare one sample as the reference implementation does; pure.

        Effects of `options` must be visible in the inputs and in their batch key.

        Returns:
            Arrays by input name, without a batch axis.

        Raises:
            ModelError: The sample does not fit the model.
        """
        raise ModelError(f"{self.card.id} reads no satellite imagery", field="model")

    def batch_key(self, inputs: Inputs) -> Hashable:
        """Inputs with equal keys can be stacked into one batch; by default: equal shapes."""
        return tuple((name, inputs[name].shape, inputs[name].dtype.str) for name in sorted(inputs))

    def modalities(self) -> tuple[str, ...]:
        """Names of all inputs that these weights read."""
        names = set(self.card.modalities)
        if self.card.image is not None:
            names.add(self.card.image.modality)
        if self.card.text is not None and self._tokenizer_factory is not None:
            names.add(self.card.text.modality)
        return tuple(sorted(names))

    @property
    def vocab_size(self) -> int:
        """Tokens in the vocabulary of the network; 0 for a model that reads no texts."""
        return 0

    # -- preparing inputs ----------------------------------------------------------------------

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The same model with the options of a request (`config_schema`)."""
        changed = copy(self)
        changed.options = options
        return changed

    def prepare_image(self, image: Image, preprocessing: str | None = None) -> Inputs:
        """Resize and crop one image to the input size of the network; pure.

        Args:
            image: 8-bit RGB.
            preprocessing: One of the card's alternatives; None: the native one.

        Returns:
            Pixels (H, W, 3), 0 to 255; `collate` makes the network's input of them.

        Raises:
            InvalidImage: The image is too small.
        """
        spec = self.image_input(preprocessing)
        return {spec.modality: images.resize_and_crop(image, spec)}

    def collate(
        self, batch: Mapping[str, torch.Tensor], preprocessing: str | None = None
    ) -> dict[str, torch.Tensor]:
        """Network inputs from a batch of prepared inputs; pure.

        Args:
            batch: Prepared inputs, stacked.
            preprocessing: Preprocessing of the images in the batch.
        """
        collated = dict(batch)
        image = self.card.image
        if image is not None and image.modality in batch:
            spec = self.image_input(preprocessing)
            collated[spec.modality] = images.standardize(batch[spec.modality], spec)
        return collated

    def prepare_text(self, text: str) -> TokenizedText:
        """Tokenize one text.

        Raises:
            ModelError: The model reads no texts.
            InvalidRequest: The text is empty or too long.
        """
        return self.tokenizer.tokenize(text)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of these weights, opened on first use.

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
        """Learned factor on cosines between images and texts before a softmax.

        Raises:
            ModelError: The model has no such factor.
        """
        if "logit_scale" not in self.config:
            raise ModelError(f"{self.card.id} does not compare images with texts", field="model")
        return math.exp(self.config["logit_scale"])

    def image_input(self, preprocessing: str | None = None) -> ImageInput:
        """How images are prepared for these weights.

        Raises:
            ModelError: The model reads no images, or has no such preprocessing.
        """
        if self.card.image is None:
            raise ModelError(f"{self.card.id} reads no images", field="model")
        available: dict[str | None, ImageInput] = {
            None: self.card.image,
            "native": self.card.image,
        }
        available.update(self.card.image_alternatives)
        spec = available.get(preprocessing) if isinstance(preprocessing, str | None) else None
        if spec is None:
            raise ModelError(
                f"{self.card.id} has no preprocessing {preprocessing!r}; "
                f"accepted: {', '.join(filter(None, available))}",
                field="config.preprocessing",
            )
        return spec

    def example_inputs(self, modality: str, side: int = 32, seed: int = 0) -> Inputs:
        """Inputs of a random image, text or sample, for warm-up and calibration."""
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
        # Some models need a date.
        return self.prepare(Sample(pixels, spec.sensor.bands, modality, times=(EXAMPLE_TIME,)))

    # -- weights -------------------------------------------------------------------------------

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """Configuration of a variant; of one that the card does not list, the default's."""
        return dict(cls.variants.get(variant, cls.variants[cls.card.default_variant]))

    @classmethod
    def seeded_state_dict(cls, config: Config) -> Tensors:
        """Reproducible random weights: the network's own initialization from a fixed seed."""
        return random_state_dict(cls(config).network)

    @classmethod
    def read_config(cls, checkpoint_config: Mapping[str, Any], variant: str) -> Config:
        """Configuration of a checkpoint; sizes that its file leaves out are the variant's."""
        stated = checkpoint_config.get("arch", checkpoint_config)
        return {
            name: stated.get(name, value) for name, value in cls.default_config(variant).items()
        }

    @classmethod
    def adapt_tensors(cls, tensors: Tensors, config: Config, variant: str) -> Tensors:
        """Changes that names alone cannot express, such as a resampled position table."""
        return tensors

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """A released checkpoint as configuration and state dict of this network.

        Args:
            checkpoint: Tensors under the released names.
            checkpoint_config: The configuration file of the checkpoint; empty if it has none.
            variant: Variant of the card.

        Raises:
            CheckpointError: Names or shapes are not those of the network; the message lists them.
        """
        config = cls.read_config(checkpoint_config, variant)
        tensors = cls.adapt_tensors(cls.checkpoint.convert(checkpoint), config, variant)
        expected = on_meta(cls(config).network).state_dict()
        require_state_dict(tensors, expected, f"checkpoint of {cls.card.title}, {variant}")
        return config, tensors
