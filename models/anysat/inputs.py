"""AnySat's inputs: samples of one region made into arrays for the network. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from models.anysat.card import (
    CARD,
    CELL_M,
    MAX_AERIAL_PATCH_M,
    MAX_MISALIGNMENT_M,
    MAX_SUBPATCHES,
    MAX_TOKENS,
    PIXELS_PER_CELL,
    RATIO_MEAN,
    RATIO_STD,
    SERIES_MODALITIES,
    SUBPATCHES_PER_CELL,
)
from models.preprocessing.metadata import frame_times, ground_size_m
from models.preprocessing.pixels import normalized
from models.preprocessing.radar import power_to_db
from models.preprocessing.resampling import resize
from models.types import Inputs

PATCH_COUNTS_KEY, PATCH_M_KEY = "patches", "patch_m"


def prepare_inputs(sample: Sample, patch_m: int) -> Inputs:
    """Z-scores of all modalities in whole patches, with their dates.

    Args:
        sample: One modality, with others in `extras`.
        patch_m: Ground size of a patch, meters.

    Returns:
        As `AnySat.prepare`.

    Raises:
        ModelError: The sample does not fit the model.
    """
    samples = collect_samples(sample)
    high, wide = patch_counts(sample, patch_m)
    check_token_count(samples, patch_m, high * wide)
    inputs: Inputs = {
        PATCH_COUNTS_KEY: np.asarray((high, wide), np.int64),
        PATCH_M_KEY: np.asarray(patch_m, np.int64),
    }
    for name, part in samples.items():
        side = patch_m // CELL_M * PIXELS_PER_CELL[name]
        shape = high * side, wide * side
        inputs[name] = resize(_z_scores(part), shape, "bilinear", antialias=True)
        if name in SERIES_MODALITIES:
            inputs[f"{name}_days"] = _days_of_year(part)
            inputs[f"{name}_missing"] = _missing_mask(part, shape)
    return inputs


def collect_samples(sample: Sample) -> dict[str, Sample]:
    """All samples by modality, in the order of the network.

    Raises:
        ModelError: A modality is unknown, or has other axes or other ground.
    """
    samples = {sample.modality: sample, **sample.extras}
    if unknown := sorted(set(samples) - set(PIXELS_PER_CELL)):
        raise ModelError(
            f"{CARD.id} does not read {unknown[0]!r}; accepted: {', '.join(PIXELS_PER_CELL)}",
            field="modality",
        )
    for name, part in samples.items():
        axes = (3, 4) if name in SERIES_MODALITIES else (3,)
        if part.pixels.ndim not in axes or not part.pixels.size:
            raise ModelError(
                f"{name} has shape {part.pixels.shape}, expected "
                + " or ".join("(T, C, H, W)" if count == 4 else "(C, H, W)" for count in axes),
                field="sensor",
            )
        _check_ground(part, sample)
    return {name: samples[name] for name in PIXELS_PER_CELL if name in samples}


def patch_counts(sample: Sample, patch_m: int) -> tuple[int, int]:
    """The nearest number of patches, high and wide.

    Raises:
        ModelError: The ground is smaller than a patch.
    """
    ground = _ground_m(sample)
    # The tolerance allows for rounded coordinates.
    if min(ground) < patch_m * (1 - 1e-6):
        raise ModelError(
            f"the region has {ground[0]:g} x {ground[1]:g} m, a patch {patch_m} m; take a larger "
            "region or a smaller patch_size",
            field="spatial",
        )
    high, wide = (math.floor(side / patch_m + 0.5) for side in ground)
    return high, wide


def check_token_count(modalities: Collection[str], patch_m: int, patches: int) -> None:
    """Check the number of patches, and of sub-patches of the region and of one patch.

    Args:
        modalities: Names of all inputs.
        patch_m: Ground size of a patch, meters.
        patches: Patches of the region.

    Raises:
        ModelError: There are too many.
    """
    subpatches = (patch_m // CELL_M) ** 2 * sum(SUBPATCHES_PER_CELL[name] for name in modalities)
    for unit, count, limit, remedy in (
        ("tokens", patches * len(modalities), MAX_TOKENS, " or a larger patch_size"),
        ("sub-patches", patches * subpatches, MAX_SUBPATCHES, ""),
    ):
        if count > limit:
            raise ModelError(
                f"the region gives {count:,} {unit}, {CARD.id} takes up to {limit:,}; take a "
                f"smaller region{remedy}",
                field="spatial",
                detail={unit: count, "limit": limit},
            )
    if "aerial" in modalities and patch_m > MAX_AERIAL_PATCH_M:
        raise ModelError(
            f"patch_size is {patch_m}; accepted with aerial images: up to {MAX_AERIAL_PATCH_M}",
            field="model_config.patch_size",
        )


def _ground_m(sample: Sample) -> tuple[float, float]:
    """Ground height and width, meters."""
    return ground_size_m(sample, CELL_M / PIXELS_PER_CELL[sample.modality])


def _check_ground(auxiliary: Sample, primary: Sample) -> None:
    """Check that two samples have the same ground, by their grids or else by their sizes."""
    ground = _ground_m(auxiliary)
    if auxiliary.grid is not None and primary.grid is not None:
        same_crs = auxiliary.grid.crs == primary.grid.crs
        distances = np.subtract(auxiliary.grid.bounds, primary.grid.bounds)
    else:
        same_crs = True
        distances = np.subtract(ground, _ground_m(primary))
    if not same_crs or np.abs(distances).max() > MAX_MISALIGNMENT_M:
        raise ModelError(
            f"{auxiliary.modality} has other ground ({ground[0]:g} x {ground[1]:g} m) than "
            f"{primary.modality}; all inputs of a region need the same bounds",
            field="spatial",
        )


def _z_scores(sample: Sample) -> NDArray[np.float32]:
    """Scaled values (T, C, H, W) of a series or (C, H, W) of an aerial image.

    Radar becomes decibels, with VV - VH as the third channel.
    """
    if sample.modality not in SERIES_MODALITIES:
        return normalized(sample, CARD)
    series = replace(sample, pixels=sample.pixels.reshape(-1, *sample.pixels.shape[-3:]))
    if sample.modality != "s1":
        return normalized(series, CARD)
    series = replace(series, pixels=power_to_db(series.pixels, CARD.id))
    ratio = (series.pixels[:, :1] - series.pixels[:, 1:] - RATIO_MEAN) / RATIO_STD
    return np.concatenate([normalized(series, CARD), ratio.astype(np.float32)], axis=1)


def _days_of_year(sample: Sample) -> NDArray[np.int64]:
    """Days of the year (T,), from 0."""
    times = frame_times(sample)
    if not times:
        raise ModelError(f"{CARD.id} needs the dates of {sample.modality}", field="temporal")
    return np.asarray([time.timetuple().tm_yday - 1 for time in times], np.int64)


def _missing_mask(sample: Sample, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (T, height, width) without data."""
    frames = len(sample.pixels) if sample.pixels.ndim == 4 else 1
    if sample.valid is None:
        return np.zeros((frames, *shape), np.bool_)
    missing = resize(~sample.valid, shape, "nearest") > 0
    return np.ascontiguousarray(np.broadcast_to(missing, (frames, *shape)))
