"""Raw pixels of satellite imagery checked and scaled as the card says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from models.preprocessing import bands


def validated_pixels(
    sample: Sample,
    card: ModelCard,
    *,
    min_pixels: int = 1,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> NDArray[Any]:
    """Raw pixels of a sample that the model can read.

    Args:
        sample: (..., H, W) raw values of bands of the card's modality.
        card: Card of the model.
        min_pixels: Smallest height and width for these weights, if larger than the card's.
        options: Options of the model, which may describe other bands.

    Returns:
        The pixels of the sample, unchanged.

    Raises:
        ModelError: The bands are not those of the modality, or there are too few pixels.
    """
    bands.check_bands(card, sample.modality, sample.bands, options)
    height, width = sample.pixels.shape[-2:]
    smallest = max(card.modalities[sample.modality].min_pixels, min_pixels)
    if min(height, width) < smallest:
        raise ModelError(
            f"{card.id} needs at least {smallest} x {smallest} pixels, "
            f"got {height} x {width}; take a larger region or a smaller scale_m",
            field="spatial",
        )
    return sample.pixels


def normalized(
    sample: Sample, card: ModelCard, *, min_pixels: int = 1, clip: bool = True
) -> NDArray[np.float32]:
    """Raw pixels scaled by the statistics of their modality.

    Args:
        sample: (..., C, H, W) raw values of bands of the card's modality.
        card: Card with the statistics.
        min_pixels: Smallest height and width for these weights, if larger than the card's.
        clip: Whether the bounds of the statistics are applied.

    Raises:
        ModelError: The bands are not those of the modality, or there are too few pixels.
    """
    pixels = validated_pixels(sample, card, min_pixels=min_pixels).astype(np.float32)
    spec = card.modalities[sample.modality]
    positions = [spec.bands.index(band) for band in sample.bands]

    def per_band(numbers: tuple[float, ...]) -> NDArray[np.float32]:
        return np.asarray(numbers, np.float32)[positions, None, None]

    stats = spec.normalization
    values = (pixels - per_band(stats.offset)) * per_band(stats.scale)
    if stats.clip is not None and clip:
        values = np.clip(values, *stats.clip)
    if stats.mean:
        values = values - per_band(stats.mean)
    return values / per_band(stats.std) if stats.std else values
