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

from geobento.schemas.sample import Provenance, Sample, Scene, middle
from imagery.source import ImageQuery

S = TypeVar("S")

MONTH = timedelta(days=365.25 / 12)


@dataclass(frozen=True)
class Frame:
    """The composite of one part of a window.

    Attributes:
        number: Which part, from 0.
        pixels: (C, H, W), raw units.
        valid: (H, W).
        scenes: What it was made from, oldest first.
    """

    number: int
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    scenes: tuple[Scene, ...]


def borders(query: ImageQuery) -> list[datetime]:
    """Begin of every part of the window, and its end; each part holds its begin, not its end."""
    length = query.end - query.start
    return [query.start + length * part // query.frames for part in range(query.frames + 1)]


def split(
    passes: Sequence[Sequence[S]], time: Callable[[S], datetime], query: ImageQuery
) -> dict[int, list[Sequence[S]]]:
    """The passes of every part of the window that has any, by its number.

    Args:
        passes: Scenes of each pass of a satellite, oldest first. A pass is never cut: it belongs
            where its first scene does.
        time: When a scene was taken.
        query: The window and into how many parts it goes.
    """
    if query.frames == 1:
        return {0: list(passes)} if passes else {}
    begins = borders(query)[:-1]
    found: dict[int, list[Sequence[S]]] = defaultdict(list)
    for scenes in passes:
        found[max(0, bisect_right(begins, time(scenes[0])) - 1)].append(scenes)
    return dict(sorted(found.items()))


def months(query: ImageQuery) -> list[tuple[datetime, datetime]]:
    """For every part of the window the calendar months that it stands for: begin and end.

    They are the month in which the part begins, and as many more as it is long.
    """
    begins = borders(query)[:-1]
    count = max(1, round((query.end - query.start) / query.frames / MONTH))
    return [(_first_day(begin), _first_day(begin, count)) for begin in begins]


def by_months(
    scenes: Sequence[S], time: Callable[[S], datetime], query: ImageQuery
) -> dict[int, list[S]]:
    """The monthly scenes of every part of the window that has any, by its number.

    A scene may be of several parts.

    Args:
        scenes: One per month, dated within it, oldest first.
        time: That date.
        query: The window and into how many parts it goes.
    """
    found = {
        number: [scene for scene in scenes if begin <= time(scene) < end]
        for number, (begin, end) in enumerate(months(query))
    }
    return {number: part for number, part in found.items() if part}


def _first_day(instant: datetime, later: int = 0) -> datetime:
    """The begin of the month of an instant, or of one some months later."""
    years, month = divmod(instant.month - 1 + later, 12)
    year = instant.year + years
    if year > datetime.max.year:
        return datetime.max.replace(tzinfo=UTC)
    return datetime(year, month + 1, 1, tzinfo=UTC)


def sample(frames: Sequence[Frame], query: ImageQuery, origin: Provenance) -> Sample:
    """One image, or those of a series in the order of time.

    Args:
        frames: At least one; parts of the window that show nothing are left out.
        query: What was asked for.
        origin: Where the pixels came from.
    """
    first = frames[0]
    series = query.frames > 1
    return Sample(
        np.stack([frame.pixels for frame in frames]) if series else first.pixels,
        query.sensor.bands,
        query.modality,
        valid=np.stack([frame.valid for frame in frames]) if series else first.valid,
        grid=query.grid,
        times=tuple(middle([scene.time for scene in frame.scenes]) for frame in frames)
        if series
        else tuple(scene.time for scene in first.scenes),
        parts=tuple(frame.number for frame in frames) if series else (),
        provenance=origin,
    )
