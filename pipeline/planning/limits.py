"""Limits of a request for a region. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import ModelError, PayloadTooLarge
from imagery.query import ImageQuery

MAX_OVERLAP_FACTOR = 4
"""The tiles of a region, and its frames, have at most this many times the pixels that a region may
have."""


@dataclass(frozen=True)
class Limits:
    """Bounds that the service sets.

    Attributes:
        max_region_pixels: Most pixels of a region.
        allow_saving: Whether images may be written to folders that requests name.
    """

    max_region_pixels: int
    allow_saving: bool = False


def limits_for_model(card: ModelCard, modality: str, limits: Limits) -> Limits:
    """The bounds of the service, or those of the model where they are narrower."""
    max_pixels = card.modalities[modality].max_pixels
    if max_pixels is None:
        return limits
    return replace(limits, max_region_pixels=min(max_pixels, limits.max_region_pixels))


def check_region_size(shape: tuple[int, int], limits: Limits, field: str) -> None:
    """Check that a region has not too many pixels."""
    height, width = shape
    if height * width > limits.max_region_pixels:
        raise PayloadTooLarge(
            f"the region has {height * width:,} pixels; accepted: up to "
            f"{limits.max_region_pixels:,}. Take a smaller region or a larger scale_m",
            field=field,
            detail={"pixels": height * width, "limit": limits.max_region_pixels},
        )


def check_total_pixels(query: ImageQuery, limits: Limits, field: str) -> None:
    """Check the pixels of all frames."""
    height, width = query.grid.shape
    limit = MAX_OVERLAP_FACTOR * limits.max_region_pixels
    if (pixels := height * width * query.frames) > limit:
        raise PayloadTooLarge(
            f"{query.frames} frames of the region have {pixels:,} pixels together; accepted: up to "
            f"{limit:,}. Take a smaller region, a larger scale_m or fewer frames (n_frames)",
            field=field,
            detail={"pixels": pixels, "limit": limit},
        )


def check_min_size(
    card: ModelCard,
    modality: str,
    shape: tuple[int, int],
    field: str,
    size_hint: str = "scale_m",
) -> None:
    """Check that a region has enough pixels for the model.

    Args:
        card: The model's card.
        modality: What it reads.
        shape: (height, width) of the region, pixels.
        field: Parameter that names the region.
        size_hint: What a caller would change for other pixels.

    Raises:
        ModelError: It has too few.
    """
    height, width = shape
    minimum = card.modalities[modality].min_pixels
    if min(height, width) < minimum:
        raise ModelError(
            f"the region has {height} x {width} pixels, {card.id} needs at least "
            f"{minimum} x {minimum}; take a larger region or a smaller {size_hint}",
            field=field,
        )
