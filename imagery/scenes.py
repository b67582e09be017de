"""Which scenes belong together, whatever catalog names them. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from geobento.schemas.specs import SensorSpec

S = TypeVar("S")

MAX_PASS_DURATION = timedelta(minutes=30)
"""Scenes of one satellite within this time are of one pass; an orbit takes about 100 minutes, so
the next pass over a place is never this close. (A day is too long: near the poles passes follow
each other orbit by orbit, and radar sees a place morning and evening.)"""


def group_passes(acquisitions: Sequence[tuple[Hashable, datetime]]) -> list[list[int]]:
    """Positions of the scenes that belong to each pass of a satellite, oldest first.

    Args:
        acquisitions: Satellite and time of every scene, oldest first.
    """
    found: list[list[int]] = []
    open_passes: dict[Hashable, list[int]] = {}
    for position, (satellite, time) in enumerate(acquisitions):
        current = open_passes.get(satellite)
        if current and time - acquisitions[current[0]][1] <= MAX_PASS_DURATION:
            current.append(position)
        else:
            open_passes[satellite] = [position]
            found.append(open_passes[satellite])
    return found


def latest_processing(
    scenes: Iterable[S],
    acquisition_key: Callable[[S], Hashable],
    processing_key: Callable[[S], Any],
) -> list[S]:
    """One scene per acquisition, in the order given: the one processed last.

    Args:
        scenes: All of them.
        acquisition_key: What is the same for scenes that show the same.
        processing_key: What is greatest for the scene to keep.
    """
    chosen: dict[Hashable, S] = {}
    for scene in scenes:
        key = acquisition_key(scene)
        if key not in chosen or processing_key(scene) > processing_key(chosen[key]):
            chosen[key] = scene
    return list(chosen.values())


def count_too_cloudy(cloud_percentages: Iterable[float], sensor: SensorSpec) -> int:
    """How many of the cloud percentages that scenes state are more than a sensor allows."""
    most = sensor.cloudy_pct
    return 0 if most is None else sum(cloud > most for cloud in cloud_percentages)


def filter_radar_scenes(
    scenes: Sequence[S], sensor: SensorSpec, get_mode_and_direction: Callable[[S], tuple[Any, Any]]
) -> list[S]:
    """Of Sentinel-1 scenes those of the pass direction and mode that a sensor asks for.

    Args:
        scenes: All that have the bands.
        sensor: What is asked for.
        get_mode_and_direction: Mode of a scene, such as ``IW``, and direction of its pass, such as ``ASCENDING``.
    """
    looks = [(scene, *get_mode_and_direction(scene)) for scene in scenes]
    if sensor.orbit is not None:
        looks = [entry for entry in looks if entry[2] == sensor.orbit]
    wide = [scene for scene, mode, _ in looks if mode == "IW"]
    if not sensor.s1_require_iw or (not wide and sensor.s1_relax_iw_on_empty):
        return [scene for scene, _, _ in looks]
    return wide


def finite_float(value: Any) -> float | None:
    """A metadata value as a float; None if it is absent, not a number, or not finite."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
