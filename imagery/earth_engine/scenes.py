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
from imagery.collections.harmonization import has_baseline_offset
from imagery.collections.schema import Collection
from imagery.query import ImageQuery
from imagery.scenes import filter_radar_scenes, finite_float, group_passes, latest_processing

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INDEX_PROPERTY, TIME_PROPERTY = "system:index", "system:time_start"
MODE_PROPERTY, POLARIZATIONS_PROPERTY, DIRECTION_PROPERTY = (
    "instrumentMode",
    "transmitterReceiverPolarisation",
    "orbitProperties_pass",
)
"""Properties of Sentinel-1 scenes."""


@dataclass(frozen=True)
class SceneRecord:
    """A scene of a collection, as Earth Engine describes it."""

    asset_id: str
    time: datetime
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class CompositeInputs:
    """The scenes of one composite.

    Attributes:
        index: Which part of the window they are of, from 0.
        passes: Of each pass of a satellite, oldest first, its scenes; of these the first with
            data at a pixel shows.
    """

    index: int
    passes: tuple[tuple[SceneRecord, ...], ...]

    @property
    def scenes(self) -> list[SceneRecord]:
        """The scenes of all passes, oldest first."""
        return sort_by_time(scene for looks in self.passes for scene in looks)


def plan_composites(
    scenes: Sequence[SceneRecord], query: ImageQuery, collection: Collection
) -> list[CompositeInputs]:
    """Which scenes to use in every part of the window, and which of them are one pass.

    Args:
        scenes: Scenes in the window, oldest first.
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
        for scene in scenes
        if sensor.cloudy_pct is None
        or (scene_cloud_pct(scene, collection) or 0.0) <= sensor.cloudy_pct
    ]
    if entry.radar:
        clear = select_radar_scenes(clear, sensor)
    if entry.tile_property is not None:
        clear = latest_processing(
            clear,
            lambda scene: (_platform(scene, collection), _tile(scene, collection), scene.time),
            lambda scene: [str(scene.properties[name]) for name in entry.processing_properties],
        )
    if entry.band_per_image is not None:
        named = entry.band_per_image[0]
        clear = [scene for scene in clear if scene.properties.get(named) in sensor.bands]
    if collection.static:
        return [CompositeInputs(0, (tuple(clear),))] if clear else []
    if collection.monthly:
        monthly = time_bins.group_by_months(clear, lambda scene: scene.time, query)
        return [
            CompositeInputs(number, tuple((s,) for s in part)) for number, part in monthly.items()
        ]
    groups = [
        tuple(clear[position] for position in group)
        for group in group_passes([(_platform(scene, collection), scene.time) for scene in clear])
    ]
    parts = time_bins.split_passes(groups, lambda scene: scene.time, query)
    return [CompositeInputs(number, tuple(map(tuple, part))) for number, part in parts.items()]


def select_radar_scenes(scenes: Sequence[SceneRecord], sensor: SensorSpec) -> list[SceneRecord]:
    """Of Sentinel-1 scenes those that the sensor asks for.

    Raises:
        ModelError: None has all bands.
    """
    whole = [
        scene
        for scene in scenes
        if set(sensor.bands) <= set(scene.properties.get(POLARIZATIONS_PROPERTY) or ())
    ]
    if scenes and not whole:
        raise ModelError(
            f"no scene of this window has {' and '.join(sensor.bands)}", field="sensor.bands"
        )
    return filter_radar_scenes(
        whole,
        sensor,
        lambda scene: (
            scene.properties.get(MODE_PROPERTY),
            scene.properties.get(DIRECTION_PROPERTY),
        ),
    )


def scene_properties(collection: Collection) -> list[str]:
    """Properties of scenes that the plan and answers need, the index first."""
    entry = collection.gee
    single = (entry.cloud_property, entry.platform_property, entry.tile_property)
    named = [name for name in (*single, *(entry.band_per_image or ())[:1]) if name is not None]
    of_radar = (MODE_PROPERTY, POLARIZATIONS_PROPERTY, DIRECTION_PROPERTY) if entry.radar else ()
    return [INDEX_PROPERTY, TIME_PROPERTY, *named, *entry.processing_properties, *of_radar]


def parse_scene(properties: Mapping[str, Any], collection: Collection) -> SceneRecord:
    """A scene by its properties."""
    started = properties[TIME_PROPERTY]
    when = (
        datetime.min.replace(tzinfo=UTC)
        if started is None
        else EPOCH + timedelta(milliseconds=started)
    )
    return SceneRecord(f"{collection.id}/{properties[INDEX_PROPERTY]}", when, properties)


def sort_by_time(scenes: Iterable[SceneRecord]) -> list[SceneRecord]:
    """Oldest first."""
    return sorted(scenes, key=lambda scene: (scene.time, scene.asset_id))


def to_scene(scene: SceneRecord, collection: Collection) -> Scene:
    """What answers say of a scene."""
    named = collection.gee.processing_properties[:1]
    stated = next((scene.properties.get(name) for name in named), None)
    return Scene(
        scene.asset_id,
        scene.time,
        scene_cloud_pct(scene, collection),
        collection.harmonized and has_baseline_offset(stated),
        None if stated is None else str(stated),
    )


def scene_cloud_pct(scene: SceneRecord, collection: Collection) -> float | None:
    """Percentage of clouds, where it is stated."""
    name = collection.gee.cloud_property
    return finite_float(scene.properties.get(name)) if name is not None else None


def _platform(scene: SceneRecord, collection: Collection) -> Any:
    return scene.properties.get(collection.gee.platform_property or "")


def _tile(scene: SceneRecord, collection: Collection) -> Any:
    return scene.properties.get(collection.gee.tile_property or "")
