"""Samples as THOR reads them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from models.preprocessing.patches import whole_patches
from models.preprocessing.pixels import normalized

NATIVE_PIXEL_M = {
    "B4": 10, "B3": 10, "B2": 10, "B8": 10,
    "B5": 20, "B6": 20, "B7": 20, "B8A": 20, "B11": 20, "B12": 20,
    "B1": 60, "B9": 60,
    "VH": 10, "VV": 10, "HV": 10, "HH": 10,
}  # fmt: skip
"""Pixel size of each band, meters, in the order of the network."""
BANDS = tuple(NATIVE_PIXEL_M)


@dataclass(frozen=True)
class Layout:
    """How the pixels of a region are laid out for the network.

    Attributes:
        shape: (height, width) in pixels, whole patches of the coarsest band.
        channels: (C, 2) int64: position of each channel in `BANDS`, and pixels of the image along
            a pixel of its band.
        pixel_mm: Ground size of a pixel of the image, millimeters.
    """

    shape: tuple[int, int]
    channels: NDArray[np.int64]
    pixel_mm: int


def plan_layout(
    sample: Sample, card: ModelCard, patch_size: int, max_patches_per_side: int
) -> Layout:
    """The layout of a sample with those in its `extras`.

    Args:
        sample: (C, H, W) raw values.
        card: Card of the model.
        patch_size: Side of a patch, pixels.
        max_patches_per_side: Patches of the finest bands per side.

    Raises:
        ModelError: The samples have different sizes, or bands that the model does not read.
    """
    parts = (sample, *sample.extras.values())
    height, width = sample.pixels.shape[-2:]
    if any(part.pixels.shape[-2:] != (height, width) for part in parts):
        raise ModelError("all modalities of a region need the same pixel grid", field="spatial")
    pixel_m = _pixel_size_m(sample, card)
    bands = [band for part in parts for band in part.bands]
    downsampling = [max(1, round(NATIVE_PIXEL_M[band] / pixel_m)) for band in bands]
    unit = patch_size * max(downsampling)
    shape = whole_patches((height, width), unit, max_patches_per_side * patch_size)
    pixel_m *= (height * width / (shape[0] * shape[1])) ** 0.5
    positions = [BANDS.index(band) for band in bands]
    channels = np.array([positions, downsampling], np.int64).T.copy()
    return Layout(shape, channels, round(pixel_m * 1000))


def standardized(sample: Sample, card: ModelCard) -> NDArray[np.float32]:
    """Z-scores (C, H, W); pixels without data become the mean of the others of their band."""
    if sample.modality == "s1":
        power = np.where(sample.pixels > 0, sample.pixels, np.nan)
        sample = replace(sample, pixels=10 * np.log10(power))
    scores = normalized(sample, card, clip=False)
    missing = ~np.isfinite(scores)
    if sample.valid is not None:
        missing |= ~sample.valid
    sums = np.where(missing, 0, scores).sum(axis=(-2, -1), keepdims=True, dtype=np.float64)
    counts = np.maximum((~missing).sum(axis=(-2, -1), keepdims=True), 1)
    filled = np.where(missing, (sums / counts).astype(np.float32), scores)
    return np.clip(filled, *card.modalities[sample.modality].normalization.clip or (None, None))


def _pixel_size_m(sample: Sample, card: ModelCard) -> float:
    """Ground size of a pixel, meters."""
    if sample.grid is None:
        return card.modalities[sample.modality].sensor.scale_m
    width, height = sample.grid.resolution
    return float((width * height) ** 0.5)
