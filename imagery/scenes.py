"""Selecting and grouping scenes, for any source. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from geobento.schemas.specs import SensorSpec

S = TypeVar("S")

MAX_PASS_DURATION = timedelta(minutes=30)
"""Scenes of one satellite within this time belong to one pass. An orbit takes about 100 minutes, so
the next pass over a region is never this close. A day would be too long: passes near the poles
repeat every orbit, and radar sees a region in the morning and in the evening."""


def group_passes(acquisitions: Sequence[tuple[Hashable, datetime]]) -> list[list[int]]:
    """Group scenes by satellite pass.

    Args:
        acquisitions: Satellite and time of every scene, oldest first.

    Returns:
        The scene positions of each pass, oldest first.
    """
    passes: list[list[int]] = []
    open_passes: dict[Hashable, list[int]] = {}
    for position, (satellite, time) in enumerate(acquisitions):
        current = open_passes.get(satellite)
        if current and time - acquisitions[current[0]][1] <= MAX_PASS_DURATION:
            current.append(position)
        else:
            open_passes[satellite] = [position]
            passes.append(open_passes[satellite])
    return passes


def latest_processing(
    scenes: Sequence[S],
    tile_key: Callable[[S], Hashable],
    time: Callable[[S], datetime],
    processing_key: Callable[[S], tuple[Any, ...]],
) -> list[S]:
    """The latest processing of each acquisition, whole, in the order of the scenes.

    An acquisition is a tile in one satellite pass: processings may date it seconds or minutes
    apart. It may have several parts of the same processing, which are all kept.

    Args:
        scenes: Scenes, oldest first, possibly with several processings of one acquisition.
        tile_key: Satellite and tile, equal for scenes of one acquisition.
        time: Time of a scene.
        processing_key: Processing baseline first, then what tells processings of one baseline
            apart; greatest for the latest processing.
    """
    selected: set[int] = set()
    for positions in group_passes([(tile_key(scene), time(scene)) for scene in scenes]):
        keys = {position: processing_key(scenes[position]) for position in positions}
        newest = max(keys.values())
        by_time: dict[datetime, int] = {}
        for position in positions:
            if keys[position][:1] != newest[:1]:
                continue
            current = by_time.setdefault(time(scenes[position]), position)
            if keys[position] > keys[current]:
                by_time[time(scenes[position])] = position
        selected |= set(by_time.values())
    return [scene for position, scene in enumerate(scenes) if position in selected]


def count_too_cloudy(cloud_percentages: Iterable[float], sensor: SensorSpec) -> int:
    """The number of cloud percentages above the sensor's limit."""
    limit = sensor.cloudy_pct
    return 0 if limit is None else sum(cloud > limit for cloud in cloud_percentages)


def filter_radar_scenes(
    scenes: Sequence[S], sensor: SensorSpec, get_mode_and_direction: Callable[[S], tuple[Any, Any]]
) -> list[S]:
    """The Sentinel-1 scenes with the pass direction and the mode that a sensor requires.

    Args:
        scenes: Scenes that have the sensor's bands.
        sensor: Required orbit direction and mode.
        get_mode_and_direction: Mode of a scene, such as ``IW``, and pass direction, such as
            ``ASCENDING``.
    """
    candidates = [(scene, *get_mode_and_direction(scene)) for scene in scenes]
    if sensor.orbit is not None:
        candidates = [entry for entry in candidates if entry[2] == sensor.orbit]
    wide_swath = [scene for scene, mode, _ in candidates if mode == "IW"]
    if not sensor.s1_require_iw or (not wide_swath and sensor.s1_relax_iw_on_empty):
        return [scene for scene, _, _ in candidates]
    return wide_swath


def finite_float(value: Any) -> float | None:
    """A metadata value as a float; None if it is absent, not a number, or not finite."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
