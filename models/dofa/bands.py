"""Bands that a request describes to DOFA: wavelengths, means and standard deviations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from models.preprocessing.pixels import normalized, validated_pixels

WAVELENGTHS_OPTION = "wavelengths_um"
BAND_OPTIONS = (WAVELENGTHS_OPTION, "mean", "std")
"""Options that describe bands together; one value per band each."""


def check_band_options(options: Mapping[str, Any]) -> None:
    """Check that bands are described in full or not at all.

    Raises:
        ModelError: Some of the options are missing.
    """
    present = [name for name in BAND_OPTIONS if name in options]
    if present and len(present) < len(BAND_OPTIONS):
        missing = next(name for name in BAND_OPTIONS if name not in options)
        raise ModelError(
            f"bands are described by {', '.join(BAND_OPTIONS)} together, got {present[0]} "
            f"without {missing}",
            field=f"model_config.{missing}",
        )


def standardized(
    sample: Sample, card: ModelCard, options: Mapping[str, Any]
) -> tuple[NDArray[np.float32], Sequence[float]]:
    """Standardized pixels (C, H, W) and the wavelength of each band, micrometers.

    Raises:
        ModelError: Bands are not those of the card and not described by the options.
    """
    if WAVELENGTHS_OPTION in options:
        return _standardized_by_options(sample, card, options), options[WAVELENGTHS_OPTION]
    is_radar = sample.modality == "s1"
    pixels = np.sqrt(np.maximum(sample.pixels, 0)) if is_radar else sample.pixels
    values = normalized(replace(sample, pixels=pixels), card)
    wavelengths = card.modalities[sample.modality].wavelengths_um
    return values, [wavelengths[band] for band in sample.bands]


def _standardized_by_options(
    sample: Sample, card: ModelCard, options: Mapping[str, Any]
) -> NDArray[np.float32]:
    """Pixels (C, H, W) standardized with the statistics of a request.

    Raises:
        ModelError: An option has another number of values than the sample has bands.
    """
    pixels = validated_pixels(sample, card, options=options).astype(np.float32)
    for name in BAND_OPTIONS:
        if (count := len(options[name])) != len(sample.bands):
            raise ModelError(
                f"{name} has {count} values, the sensor {len(sample.bands)} bands",
                field=f"model_config.{name}",
            )
    mean, std = (np.array(options[name], np.float32)[:, None, None] for name in ("mean", "std"))
    values: NDArray[np.float32] = (pixels - mean) / std
    return values
