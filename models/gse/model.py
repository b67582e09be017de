"""Google Satellite Embedding: precomputed annual vectors of AlphaEarth Foundations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from geobento.schemas.errors import NoImageryError
from geobento.schemas.sample import Sample
from models.base import Model
from models.cards import load_card
from models.checkpoints.files import CheckpointError
from models.preprocessing.pixels import validated_pixels
from models.types import Config, Encoded, Inputs, Tensors

if TYPE_CHECKING:
    import torch

UNIT_LENGTH_TOLERANCE = 0.01
"""The product's rounding to 8 bits changes lengths by less; resampling may change them more."""


class Gse(Model):
    """The vectors of a region as they were read; there is no network and there are no weights."""

    card = load_card("gse")
    variants = {"v1_annual": {}}

    @property
    def dim(self) -> int:
        """Axes of the product."""
        return self.card.variants["v1_annual"].dim

    def prepare(self, sample: Sample) -> Inputs:
        """Vectors (64, H, W); NaN where there is none.

        They have length 1 but for the product's rounding, and are kept bit for bit. Vectors that
        resampling made shorter are scaled to length 1.

        Raises:
            NoImageryError: All vectors are zero.
        """
        vectors = validated_pixels(sample, self.card).astype(np.float32)
        lengths = np.sqrt((vectors * vectors).sum(axis=0))
        has_vector = lengths > 0
        if sample.valid is not None:
            has_vector &= sample.valid
            if sample.valid.any() and not has_vector.any():
                raise NoImageryError("all vectors of the region are zero")
        is_unit = np.abs(lengths - 1) <= UNIT_LENGTH_TOLERANCE
        divisors = np.where(has_vector, np.where(is_unit, 1, lengths), np.nan).astype(np.float32)
        return {"annual": vectors / divisors}

    def network(self) -> torch.nn.Module:
        """The identity."""
        import torch

        return torch.nn.Identity()

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Every pixel is a cell of the grid."""
        vectors = network(batch["annual"])
        tokens = vectors.flatten(2).transpose(1, 2)
        height, width = vectors.shape[-2:]
        return Encoded(tokens, (height, width), valid=tokens.isfinite().all(dim=2))

    @classmethod
    def seeded_state_dict(cls, config: Config) -> Tensors:
        """No weights."""
        return {}

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        """There is nothing to convert.

        Raises:
            CheckpointError: Always.
        """
        raise CheckpointError("gse is precomputed and has no weights; leave --checkpoint out")
