"""Splitting a time window into equal bins, one composite each. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.sample import Provenance, Sample, Scene, mid_time
from imagery.query import ImageQuery

S = TypeVar("S")

MONTH = timedelta(days=365.25 / 12)


@dataclass(frozen=True)
class Frame:
    """The composite of one time bin.

    Attributes:
        index: Position of the bin, from 0.
        pixels: (C, H, W), raw units.
        valid: (H, W), True where every band has data.
        scenes: Scenes of the composite, oldest first.
    """

    index: int
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    scenes: tuple[Scene, ...]


def bin_edges(query: ImageQuery) -> list[datetime]:
    """Edges of the bins: every start, then the end of the window. Bins are half-open."""
    length = query.end - query.start
    return [query.start + length * part // query.frames for part in range(query.frames + 1)]


def split_passes(
    passes: Sequence[Sequence[S]], get_time: Callable[[S], datetime], query: ImageQuery
) -> dict[int, list[Sequence[S]]]:
    """The passes of every bin that has any, by bin index.

    Args:
        passes: Scenes of each satellite pass, oldest first. A pass is never split: it belongs to
            the bin of its first scene.
        get_time: Acquisition time of a scene.
        query: The window and its number of bins.
    """
    if query.frames == 1:
        return {0: list(passes)} if passes else {}
    starts = bin_edges(query)[:-1]
    bins: dict[int, list[Sequence[S]]] = defaultdict(list)
    for scenes in passes:
        bins[max(0, bisect_right(starts, get_time(scenes[0])) - 1)].append(scenes)
    return dict(sorted(bins.items()))


def bin_months(query: ImageQuery) -> list[tuple[datetime, datetime]]:
    """Start and end of the calendar months that each bin stands for.

    The first is the month in which the bin starts. Their number is the length of the bin in
    months, at least one.
    """
    starts = bin_edges(query)[:-1]
    count = max(1, round((query.end - query.start) / query.frames / MONTH))
    return [(_month_start(start), _month_start(start, count)) for start in starts]


def group_by_months(
    scenes: Sequence[S], get_time: Callable[[S], datetime], query: ImageQuery
) -> dict[int, list[S]]:
    """The monthly scenes of every bin that has any, by bin index.

    A scene may belong to several bins.

    Args:
        scenes: One per month, dated within it, oldest first.
        get_time: Date of a scene.
        query: The window and its number of bins.
    """
    bins = {
        index: [scene for scene in scenes if start <= get_time(scene) < end]
        for index, (start, end) in enumerate(bin_months(query))
    }
    return {index: members for index, members in bins.items() if members}


def _month_start(instant: datetime, months_later: int = 0) -> datetime:
    """The start of the month of an instant, or of a later month."""
    years, month = divmod(instant.month - 1 + months_later, 12)
    year = instant.year + years
    if year > datetime.max.year:
        return datetime.max.replace(tzinfo=UTC)
    return datetime(year, month + 1, 1, tzinfo=UTC)


def assemble_sample(frames: Sequence[Frame], query: ImageQuery, provenance: Provenance) -> Sample:
    """Assemble composites into a sample.

    Args:
        frames: At least one composite, in time order. Bins without data are absent.
        query: The query of the sample.
        provenance: Source and scenes of the pixels.

    Returns:
        One image (C, H, W) for a query of one frame, else a time series (T, C, H, W).
    """
    first = frames[0]
    series = query.frames > 1
    return Sample(
        np.stack([frame.pixels for frame in frames]) if series else first.pixels,
        query.sensor.bands,
        query.modality,
        valid=np.stack([frame.valid for frame in frames]) if series else first.valid,
        grid=query.grid,
        times=tuple(mid_time([scene.time for scene in frame.scenes]) for frame in frames)
        if series
        else tuple(scene.time for scene in first.scenes),
        parts=tuple(frame.index for frame in frames) if series else (),
        provenance=provenance,
    )
