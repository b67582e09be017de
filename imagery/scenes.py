"""Which scenes belong together, whatever catalog names them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from geobento.schemas.specs import SensorSpec

S = TypeVar("S")

PASS_LENGTH = timedelta(minutes=30)
"""Scenes of one satellite within this time are of one pass; an orbit takes about 100 minutes, so
the next pass over a place is never this close. (A day is too long: near the poles passes follow
each other orbit by orbit, and radar sees a place morning and evening.)"""


def passes(looks: Sequence[tuple[Hashable, datetime]]) -> list[list[int]]:
    """Positions of the scenes that belong to each pass of a satellite, oldest first.

    Args:
        looks: Satellite and time of every scene, oldest first.
    """
    found: list[list[int]] = []
    open_passes: dict[Hashable, list[int]] = {}
    for position, (satellite, time) in enumerate(looks):
        current = open_passes.get(satellite)
        if current and time - looks[current[0]][1] <= PASS_LENGTH:
            current.append(position)
        else:
            open_passes[satellite] = [position]
            found.append(open_passes[satellite])
    return found


def newest(
    scenes: Iterable[S],
    acquisition: Callable[[S], Hashable],
    processing: Callable[[S], Any],
) -> list[S]:
    """One scene per acquisition, in the order given: the one processed last.

    Args:
        scenes: All of them.
        acquisition: What is the same for scenes that show the same.
        processing: What is greatest for the scene to keep.
    """
    chosen: dict[Hashable, S] = {}
    for scene in scenes:
        key = acquisition(scene)
        if key not in chosen or processing(scene) > processing(chosen[key]):
            chosen[key] = scene
    return list(chosen.values())


def too_cloudy(stated: Iterable[float], sensor: SensorSpec) -> int:
    """How many of the cloud percentages that scenes state are more than a sensor allows."""
    most = sensor.cloudy_pct
    return 0 if most is None else sum(cloud > most for cloud in stated)


def radar_looks(
    scenes: Sequence[S], sensor: SensorSpec, look: Callable[[S], tuple[Any, Any]]
) -> list[S]:
    """Of Sentinel-1 scenes those of the pass direction and mode that a sensor asks for.

    Args:
        scenes: All that have the bands.
        sensor: What is asked for.
        look: Mode of a scene, such as ``IW``, and direction of its pass, such as ``ASCENDING``.
    """
    looks = [(scene, *look(scene)) for scene in scenes]
    if sensor.orbit is not None:
        looks = [entry for entry in looks if entry[2] == sensor.orbit]
    wide = [scene for scene, mode, _ in looks if mode == "IW"]
    if not sensor.s1_require_iw or (not wide and sensor.s1_relax_iw_on_empty):
        return [scene for scene, _, _ in looks]
    return wide
