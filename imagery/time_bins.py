"""A window of time in equal parts, and the composite of each. Pure."""

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
    """The composite of one part of a window.

    Attributes:
        index: Which part, from 0.
        pixels: (C, H, W), raw units.
        valid: (H, W).
        scenes: What it was made from, oldest first.
    """

    index: int
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    scenes: tuple[Scene, ...]


def bin_edges(query: ImageQuery) -> list[datetime]:
    """Begin of every part of the window, and its end; each part holds its begin, not its end."""
    length = query.end - query.start
    return [query.start + length * part // query.frames for part in range(query.frames + 1)]


def split_passes(
    passes: Sequence[Sequence[S]], get_time: Callable[[S], datetime], query: ImageQuery
) -> dict[int, list[Sequence[S]]]:
    """The passes of every part of the window that has any, by its number.

    Args:
        passes: Scenes of each pass of a satellite, oldest first. A pass is never cut: it belongs
            where its first scene does.
        get_time: When a scene was taken.
        query: The window and into how many parts it goes.
    """
    if query.frames == 1:
        return {0: list(passes)} if passes else {}
    begins = bin_edges(query)[:-1]
    found: dict[int, list[Sequence[S]]] = defaultdict(list)
    for scenes in passes:
        found[max(0, bisect_right(begins, get_time(scenes[0])) - 1)].append(scenes)
    return dict(sorted(found.items()))


def bin_months(query: ImageQuery) -> list[tuple[datetime, datetime]]:
    """For every part of the window the calendar months that it stands for: begin and end.

    They are the month in which the part begins, and as many more as it is long.
    """
    begins = bin_edges(query)[:-1]
    count = max(1, round((query.end - query.start) / query.frames / MONTH))
    return [(_month_start(begin), _month_start(begin, count)) for begin in begins]


def group_by_months(
    scenes: Sequence[S], get_time: Callable[[S], datetime], query: ImageQuery
) -> dict[int, list[S]]:
    """The monthly scenes of every part of the window that has any, by its number.

    A scene may be of several parts.

    Args:
        scenes: One per month, dated within it, oldest first.
        get_time: That date.
        query: The window and into how many parts it goes.
    """
    found = {
        number: [scene for scene in scenes if begin <= get_time(scene) < end]
        for number, (begin, end) in enumerate(bin_months(query))
    }
    return {number: part for number, part in found.items() if part}


def _month_start(instant: datetime, months_later: int = 0) -> datetime:
    """The begin of the month of an instant, or of one some months later."""
    years, month = divmod(instant.month - 1 + months_later, 12)
    year = instant.year + years
    if year > datetime.max.year:
        return datetime.max.replace(tzinfo=UTC)
    return datetime(year, month + 1, 1, tzinfo=UTC)


def assemble_sample(frames: Sequence[Frame], query: ImageQuery, provenance: Provenance) -> Sample:
    """One image, or those of a series in the order of time.

    Args:
        frames: At least one; parts of the window that show nothing are left out.
        query: What was asked for.
        provenance: Where the pixels came from.
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
