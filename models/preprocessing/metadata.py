"""When a sample is from, and how large it is on the ground. Pure."""

from __future__ import annotations

from datetime import datetime

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample, mid_time


def frame_times(sample: Sample) -> tuple[datetime, ...]:
    """One time per frame of (T, C, H, W), or the middle of the times of one image (C, H, W).

    Returns:
        T times, or none if the sample has none.

    Raises:
        ModelError: There are not as many times as frames.
    """
    times = sample.times
    if not times:
        return ()
    if sample.pixels.ndim == 3:
        return (mid_time(times),)
    frames = len(sample.pixels)
    if len(times) != frames:
        raise ModelError(
            f"{sample.modality} has {frames} frames but {len(times)} times", field="temporal"
        )
    return tuple(times)


def ground_size_m(sample: Sample, pixel_m: float) -> tuple[float, float]:
    """Ground height and width, meters.

    Args:
        sample: (..., H, W).
        pixel_m: Ground size of a pixel where the sample has no grid.
    """
    height, width = sample.pixels.shape[-2:]
    across, down = (pixel_m, pixel_m) if sample.grid is None else sample.grid.resolution
    return height * down, width * across
