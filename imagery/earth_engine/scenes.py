"""Scenes as Earth Engine describes them, and which of them to use. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Scene
from geobento.schemas.specs import SensorSpec
from imagery import time_bins
from imagery.collections import registry
from imagery.collections.schema import Collection
from imagery.scenes import newest, passes, radar_looks
from imagery.source import ImageQuery

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INDEX, TIME = "system:index", "system:time_start"
MODE, POLARISATIONS, DIRECTION = (
    "instrumentMode",
    "transmitterReceiverPolarisation",
    "orbitProperties_pass",
)
"""Properties of Sentinel-1 scenes."""


@dataclass(frozen=True)
class Found:
    """A scene of a collection, as Earth Engine describes it."""

    asset: str
    time: datetime
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class Looks:
    """The scenes of one composite.

    Attributes:
        number: Which part of the window they are of, from 0.
        passes: Of each pass of a satellite, oldest first, its scenes; of these the first with
            data at a pixel shows.
    """

    number: int
    passes: tuple[tuple[Found, ...], ...]

    @property
    def scenes(self) -> list[Found]:
        """The scenes of all passes, oldest first."""
        return in_order(scene for looks in self.passes for scene in looks)


def plan(found: Sequence[Found], query: ImageQuery, collection: Collection) -> list[Looks]:
    """Which scenes to use in every part of the window, and which of them are one pass.

    Args:
        found: Scenes in the window, oldest first.
        query: Cloud limit, bands, what is asked of radar scenes, and the frames.
        collection: The scenes' collection.

    Returns:
        The parts that have any scene.

    Raises:
        ModelError: No radar scene has all bands.
    """
    entry, sensor = collection.gee, query.sensor
    clear = [
        scene
        for scene in found
        if sensor.cloudy_pct is None or (cloud_of(scene, collection) or 0.0) <= sensor.cloudy_pct
    ]
    if entry.radar:
        clear = radar(clear, sensor)
    if entry.tile_property is not None:
        clear = newest(
            clear,
            lambda scene: (_platform(scene, collection), _tile(scene, collection), scene.time),
            lambda scene: [str(scene.properties[name]) for name in entry.processing_properties],
        )
    if entry.one_band is not None:
        named = entry.one_band[0]
        clear = [scene for scene in clear if scene.properties.get(named) in sensor.bands]
    if collection.static:
        return [Looks(0, (tuple(clear),))] if clear else []
    if collection.monthly:
        monthly = time_bins.by_months(clear, lambda scene: scene.time, query)
        return [Looks(number, tuple((s,) for s in part)) for number, part in monthly.items()]
    groups = [
        tuple(clear[position] for position in group)
        for group in passes([(_platform(scene, collection), scene.time) for scene in clear])
    ]
    parts = time_bins.split(groups, lambda scene: scene.time, query)
    return [Looks(number, tuple(map(tuple, part))) for number, part in parts.items()]


def radar(scenes: Sequence[Found], sensor: SensorSpec) -> list[Found]:
    """Of Sentinel-1 scenes those that the sensor asks for.

    Raises:
        ModelError: None has all bands.
    """
    whole = [
        scene
        for scene in scenes
        if set(sensor.bands) <= set(scene.properties.get(POLARISATIONS) or ())
    ]
    if scenes and not whole:
        raise ModelError(
            f"no scene of this window has {' and '.join(sensor.bands)}", field="sensor.bands"
        )
    return radar_looks(
        whole, sensor, lambda scene: (scene.properties.get(MODE), scene.properties.get(DIRECTION))
    )


def described(collection: Collection) -> list[str]:
    """Properties of scenes that the plan and answers need, the index first."""
    entry = collection.gee
    single = (entry.cloud_property, entry.platform_property, entry.tile_property)
    named = [name for name in (*single, *(entry.one_band or ())[:1]) if name is not None]
    of_radar = (MODE, POLARISATIONS, DIRECTION) if entry.radar else ()
    return [INDEX, TIME, *named, *entry.processing_properties, *of_radar]


def found_of(properties: Mapping[str, Any], collection: Collection) -> Found:
    """A scene by its properties."""
    started = properties[TIME]
    when = (
        datetime.min.replace(tzinfo=UTC)
        if started is None
        else EPOCH + timedelta(milliseconds=started)
    )
    return Found(f"{collection.id}/{properties[INDEX]}", when, properties)


def in_order(scenes: Iterable[Found]) -> list[Found]:
    """Oldest first."""
    return sorted(scenes, key=lambda scene: (scene.time, scene.asset))


def scene_of(scene: Found, collection: Collection) -> Scene:
    """What answers say of a scene."""
    named = collection.gee.processing_properties[:1]
    stated = next((scene.properties.get(name) for name in named), None)
    return Scene(
        scene.asset,
        scene.time,
        cloud_of(scene, collection),
        collection.harmonised and registry.has_offset(stated),
        None if stated is None else str(stated),
    )


def cloud_of(scene: Found, collection: Collection) -> float | None:
    """Percentage of clouds, where it is stated."""
    name = collection.gee.cloud_property
    return registry.number(scene.properties.get(name)) if name is not None else None


def _platform(scene: Found, collection: Collection) -> Any:
    return scene.properties.get(collection.gee.platform_property or "")


def _tile(scene: Found, collection: Collection) -> Any:
    return scene.properties.get(collection.gee.tile_property or "")
