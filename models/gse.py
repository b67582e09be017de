"""Google Satellite Embedding: the annual vectors of AlphaEarth Foundations, a finished product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from geobento.schemas.cards import Modality, ModelCard, Normalization, Variant, WeightsSource
from geobento.schemas.errors import NoImageryError
from geobento.schemas.sample import Sample
from geobento.schemas.specs import SensorSpec
from models.base import Model
from models.preprocessing.pixels import validated_pixels
from models.types import Config, Encoded, Inputs, Tensors
from models.weights.checkpoints import CheckpointError

if TYPE_CHECKING:
    import torch

DIM = 64
BANDS = tuple(f"A{axis:02d}" for axis in range(DIM))
UNIT_LENGTH_TOLERANCE = 0.01
"""The product's own rounding to 8 bits changes lengths by less; resampling may change them more."""

CARD = ModelCard(
    id="gse",
    aliases=("gse_annual", "alphaearth", "google_satellite_embedding"),
    title="Google Satellite Embedding (AlphaEarth Foundations)",
    kind="precomputed",
    paper="Brown et al., AlphaEarth Foundations, arXiv 2507.22291",
    summary=(
        "One vector per year, 2017 to 2025, for every 10 m of land and shallow water, made by "
        "Google from the optical, radar, elevation and climate record of that year. It describes "
        "what is there and how it changes with the seasons. Nothing is computed: the finished "
        "product is read, as a whole, without tiles."
    ),
    licence=(
        "CC-BY-4.0, with the words: The AlphaEarth Foundations Satellite Embedding dataset is "
        "produced by Google and Google DeepMind."
    ),
    variants={"v1_annual": Variant(dim=DIM, title="version 1, a vector per pixel and year")},
    default_variant="v1_annual",
    modalities={
        "annual": Modality(
            sensor=SensorSpec(
                "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL", BANDS, cloudy_pct=None, composite="mosaic"
            ),
            units="components of unit vectors",
            normalization=Normalization(offset=(0.0,) * DIM, scale=(1.0,) * DIM),
            max_pixels=512 * 512,
            normalize=True,
        )
    },
    default_modality="annual",
    pooling=(
        "mean of the vectors of all pixels that have one, scaled to unit length; with `mean` it "
        "keeps its length, which is the closer to 1 the more alike the pixels are. A grid has a "
        "vector per pixel; pixels without one are NaN, in JSON lists null"
    ),
    feature="mean",
    weights=WeightsSource(source="none", revision="V1", licence="CC-BY-4.0"),
    precisions=("float32",),
    max_batch_size=2,
    notes=(
        "The window has to lie within one calendar year, and stands for that year; others take "
        "the first year of a longer one.",
        "Pixels lie in the UTM zone of the place, where those of the product do, and are taken "
        "from the nearest; others read them in Web Mercator, where a pixel of 10 m repeats the "
        "same vector the more often the farther from the equator.",
        "Vectors of coarser pixels (`scale_m`) are those of the product's overviews, means scaled "
        "to unit length again; others leave out the scaling, and that of the vector of a place.",
    ),
)


class Gse(Model):
    """The vectors of a place as they were read; there is no network and there are no weights."""

    card = CARD

    @property
    def dim(self) -> int:
        """Axes of the product."""
        return DIM

    def prepare(self, sample: Sample) -> Inputs:
        """Vectors (64, H, W); NaN where there is none.

        They have length 1 but for the product's rounding, and are kept to the last bit. Those that
        resampling made shorter are scaled to it.
        """
        vectors = validated_pixels(sample, self.card).astype(np.float32)
        lengths = np.sqrt((vectors * vectors).sum(axis=0))
        has = lengths > 0
        if sample.valid is not None:
            has &= sample.valid
            if sample.valid.any() and not has.any():
                raise NoImageryError("all vectors of the place are zero")
        whole = np.abs(lengths - 1) <= UNIT_LENGTH_TOLERANCE
        divisors = np.where(has, np.where(whole, 1, lengths), np.nan).astype(np.float32)
        return {"annual": vectors / divisors}

    def network(self) -> torch.nn.Module:
        """One that changes nothing."""
        import torch

        return torch.nn.Identity()

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        """Every pixel is a cell of the grid."""
        vectors = network(batch["annual"])
        tokens = vectors.flatten(2).transpose(1, 2)
        height, width = vectors.shape[-2:]
        return Encoded(tokens, (height, width), valid=tokens.isfinite().all(dim=2))

    @classmethod
    def default_config(cls, variant: str) -> Config:
        """Nothing to configure."""
        return {}

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
        raise CheckpointError("gse is a finished product without weights; leave --checkpoint out")
