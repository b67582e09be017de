"""Galileo's inputs: samples of one region made into arrays for the network. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import PixelGrid, Sample
from models.galileo.card import (
    CARD,
    DEFAULT_MONTH,
    DEFAULT_RESOLUTION_M,
    LAND_COVER_MODALITIES,
    MAP_MODALITIES,
    MAX_TOKENS,
    PRIMARY_MODALITIES,
    S2_BANDS,
    SERIES_MODALITIES,
    TOKENS_PER_PATCH,
)
from models.preprocessing.metadata import frame_times, ground_size_m
from models.preprocessing.patches import whole_patches
from models.preprocessing.pixels import normalized
from models.preprocessing.radar import power_to_db
from models.preprocessing.resampling import resize
from models.types import Inputs


def prepare_inputs(
    sample: Sample, *, patch_size: int, max_frames: int, with_location: bool
) -> Inputs:
    """Scaled arrays of all modalities, with dates and pixel size.

    Args:
        sample: Images, with auxiliary modalities in `extras`.
        patch_size: Side of a patch, pixels.
        max_frames: Limit on the time steps.
        with_location: Whether the network gets longitude and latitude.

    Returns:
        As `Galileo.prepare`.

    Raises:
        ModelError: The sample does not fit the model.
    """
    samples = collect_samples(sample)
    frames, _, height, width = samples[sample.modality].pixels.shape
    shape = whole_patches((height, width), patch_size)
    check_token_count(samples, frames, shape[0] * shape[1] // patch_size**2, max_frames)
    inputs: Inputs = {}
    for name, part in samples.items():
        inputs |= _prepare_modality(name, part, shape, patch_size)
    if with_location:
        inputs["location"] = unit_sphere_point(sample.grid)
    return inputs | {
        "months": _months(sample, frames),
        "resolution_um": _resolution_um(sample, shape),
        "patch_size": np.asarray(patch_size, np.int64),
    }


def collect_samples(sample: Sample) -> dict[str, Sample]:
    """All samples by modality, complete and with shapes that fit each other.

    Raises:
        ModelError: A modality is unknown, cannot come first, or has another shape.
    """
    samples = {sample.modality: sample, **sample.extras}
    if unknown := sorted(set(samples) - set(CARD.modalities)):
        raise ModelError(
            f"{CARD.id} does not read {unknown[0]!r}; accepted: {', '.join(CARD.modalities)}",
            field="modality",
        )
    if sample.modality not in PRIMARY_MODALITIES:
        raise ModelError(
            f"{CARD.id} reads {sample.modality!r} only as an auxiliary input of "
            f"{' or '.join(PRIMARY_MODALITIES)}",
            field="modality",
        )
    samples = {name: _complete_sample(name, part) for name, part in samples.items()}
    frames, _, height, width = samples[sample.modality].pixels.shape
    for name, part in samples.items():
        shape = _expected_shape(name, frames, height, width)
        if part.pixels.shape != shape:
            raise ModelError(
                f"{name} has shape {part.pixels.shape}, expected {shape}", field="sensor"
            )
    return samples


def check_token_count(modalities: Iterable[str], frames: int, patches: int, limit: int) -> None:
    """Check the number of frames, and of the tokens of images over time.

    Args:
        modalities: Names of all inputs.
        frames: Time steps.
        patches: Patches of one frame.
        limit: Limit on the time steps.

    Raises:
        ModelError: There are too many frames or tokens.
    """
    if frames > limit:
        raise ModelError(f"{CARD.id} reads up to {limit} frames, got {frames}", field="temporal")
    tokens_per_patch = sum(TOKENS_PER_PATCH.get(name, 0) for name in modalities)
    tokens = frames * patches * tokens_per_patch
    if tokens > MAX_TOKENS:
        raise ModelError(
            f"the region gives {tokens:,} tokens, {CARD.id} takes up to {MAX_TOKENS:,}; take a "
            "smaller region, a larger scale_m or patch_size, fewer frames or input_prep 'tile'",
            field="spatial",
            detail={"tokens": tokens, "limit": MAX_TOKENS},
        )


def ndvi(digital_numbers: NDArray[Any]) -> NDArray[np.float32]:
    """NDVI (T, 1, H, W) of unscaled Sentinel-2 bands (T, 10, H, W); 0 if both bands are dark."""
    red, near_infrared = (
        digital_numbers[:, S2_BANDS.index(band), None].astype(np.float32) for band in ("B4", "B8")
    )
    total = near_infrared + red
    index: NDArray[np.float32] = np.zeros_like(total)
    np.divide(near_infrared - red, total, out=index, where=total > 0)
    return index


def unit_sphere_point(grid: PixelGrid | None) -> NDArray[np.float32]:
    """The center of a region as a point (x, y, z) on the unit sphere.

    Raises:
        ModelError: The sample has no grid.
    """
    if grid is None:
        raise ModelError(
            "the location of the pixels is not known; set location to false",
            field="model_config.location",
        )
    left, bottom, right, top = grid.bounds
    to_degrees = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    lon, lat = map(math.radians, to_degrees.transform((left + right) / 2, (bottom + top) / 2))
    return np.asarray(
        [math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)], np.float32
    )


def _prepare_modality(
    name: str, sample: Sample, shape: tuple[int, int], patch_size: int
) -> Mapping[str, NDArray[Any]]:
    """Arrays of one modality, and those derived from it (NDVI, mean land cover)."""
    has_pixels = name in (*PRIMARY_MODALITIES, *MAP_MODALITIES)
    digital_numbers = sample.pixels
    if name == "s1":
        sample = replace(sample, pixels=power_to_db(sample.pixels, CARD.id))
    values = normalized(sample, CARD, min_pixels=patch_size if has_pixels else 1)
    if not has_pixels:
        return {name: values[..., 0, 0]}
    arrays = {name: resize(values, shape, "bilinear")}
    if name == "s2":
        arrays["ndvi"] = resize(ndvi(digital_numbers), shape, "bilinear")
    if name in LAND_COVER_MODALITIES:
        arrays[f"{name}_static"] = values.mean(axis=(1, 2))
    return arrays


def _complete_sample(name: str, sample: Sample) -> Sample:
    """The sample with a time axis if its modality has one, and without gaps or, if it is not a
    map, pixels: the mean over the region stands for both, as in the reference implementation.
    """
    if name in (*PRIMARY_MODALITIES, *SERIES_MODALITIES) and sample.pixels.ndim == 3:
        valid = None if sample.valid is None else sample.valid[None]
        sample = replace(sample, pixels=sample.pixels[None], valid=valid)
    if name in PRIMARY_MODALITIES:
        return sample
    valid = sample.valid
    if valid is None:
        valid = np.ones_like(sample.pixels[..., 0, :, :], bool)
    valid = valid[..., None, :, :]
    total = np.where(valid, sample.pixels, 0).sum(axis=(-2, -1), keepdims=True, dtype=np.float64)
    mean = total / np.maximum(valid.sum(axis=(-2, -1), keepdims=True), 1)
    pixels = np.where(valid, sample.pixels, mean) if name in MAP_MODALITIES else mean
    return replace(sample, pixels=pixels.astype(np.float32), valid=None)


def _expected_shape(name: str, frames: int, height: int, width: int) -> tuple[int, ...]:
    """Shape of a complete sample beside `frames` images of `height` x `width` pixels."""
    bands = len(CARD.modalities[name].sensor.bands)
    if name in PRIMARY_MODALITIES:
        return frames, bands, height, width
    if name in MAP_MODALITIES:
        return bands, height, width
    return (frames, bands, 1, 1) if name in SERIES_MODALITIES else (bands, 1, 1)


def _months(sample: Sample, frames: int) -> NDArray[np.int64]:
    """Months (T,) of the frames, 0 to 11."""
    times = frame_times(sample)
    if not times:
        return np.full(frames, DEFAULT_MONTH, np.int64)
    return np.asarray([time.month - 1 for time in times], np.int64)


def _resolution_um(sample: Sample, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Ground height and width of a pixel after a resize to `shape`, micrometers.

    Integers, because the precision of a forward pass may round floating-point inputs.
    """
    meters = np.asarray(ground_size_m(sample, DEFAULT_RESOLUTION_M)) / shape
    return np.rint(meters * 1e6).astype(np.int64)
