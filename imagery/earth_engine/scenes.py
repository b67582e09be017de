"""Scene metadata of Earth Engine, and the selection of scenes for composites. Pure."""

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
"""Scene properties of Sentinel-1."""


@dataclass(frozen=True)
class SceneRecord:
    """A scene with its Earth Engine asset id and properties."""

    asset_id: str
    time: datetime
    properties: Mapping[str, Any]


@dataclass(frozen=True)
class CompositeInputs:
    """The scenes of one composite.

    Attributes:
        index: Position of the time bin, from 0.
        passes: Scenes of each satellite pass, oldest pass first. Within a pass, the first scene
            with data at a pixel wins.
    """

    index: int
    passes: tuple[tuple[SceneRecord, ...], ...]

    @property
    def scenes(self) -> list[SceneRecord]:
        """The scenes of all passes, oldest first."""
        return sort_by_time(scene for scenes in self.passes for scene in scenes)


def plan_composites(
    scenes: Sequence[SceneRecord], query: ImageQuery, collection: Collection
) -> list[CompositeInputs]:
    """Select the scenes of each time bin and group them by satellite pass.

    Args:
        scenes: Scenes in the window, oldest first.
        query: Cloud limit, bands, radar options and frames.
        collection: Collection of the scenes.

    Returns:
        The time bins that have any scene.

    Raises:
        ModelError: No radar scene has all bands.
    """
    metadata, sensor = collection.gee, query.sensor
    clear = [
        scene
        for scene in scenes
        if sensor.cloudy_pct is None
        or (scene_cloud_pct(scene, collection) or 0.0) <= sensor.cloudy_pct
    ]
    if metadata.radar:
        clear = select_radar_scenes(clear, sensor)
    if metadata.tile_property is not None:
        clear = latest_processing(
            clear,
            lambda scene: (_platform(scene, collection), _tile(scene, collection)),
            lambda scene: scene.time,
            lambda scene: tuple(
                str(scene.properties[name]) for name in metadata.processing_properties
            ),
        )
    if metadata.band_per_image is not None:
        band_property = metadata.band_per_image[0]
        clear = [scene for scene in clear if scene.properties.get(band_property) in sensor.bands]
    if collection.static:
        return [CompositeInputs(0, (tuple(clear),))] if clear else []
    if collection.monthly:
        monthly = time_bins.group_by_months(clear, lambda scene: scene.time, query)
        return [
            CompositeInputs(index, tuple((scene,) for scene in members))
            for index, members in monthly.items()
        ]
    groups = [
        tuple(clear[position] for position in group)
        for group in group_passes([(_platform(scene, collection), scene.time) for scene in clear])
    ]
    bins = time_bins.split_passes(groups, lambda scene: scene.time, query)
    return [CompositeInputs(index, tuple(map(tuple, passes))) for index, passes in bins.items()]


def select_radar_scenes(scenes: Sequence[SceneRecord], sensor: SensorSpec) -> list[SceneRecord]:
    """The Sentinel-1 scenes with the bands, the pass direction and the mode of a sensor.

    Raises:
        ModelError: No scene has all bands.
    """
    complete = [
        scene
        for scene in scenes
        if set(sensor.bands) <= set(scene.properties.get(POLARIZATIONS_PROPERTY) or ())
    ]
    if scenes and not complete:
        raise ModelError(
            f"no scene of this window has {' and '.join(sensor.bands)}", field="sensor.bands"
        )
    return filter_radar_scenes(
        complete,
        sensor,
        lambda scene: (
            scene.properties.get(MODE_PROPERTY),
            scene.properties.get(DIRECTION_PROPERTY),
        ),
    )


def scene_properties(collection: Collection) -> list[str]:
    """Names of the scene properties to request, ``system:index`` first."""
    metadata = collection.gee
    optional = (
        metadata.cloud_property,
        metadata.platform_property,
        metadata.tile_property,
        *(metadata.band_per_image or ())[:1],
    )
    radar = (MODE_PROPERTY, POLARIZATIONS_PROPERTY, DIRECTION_PROPERTY) if metadata.radar else ()
    return [
        INDEX_PROPERTY,
        TIME_PROPERTY,
        *(name for name in optional if name is not None),
        *metadata.processing_properties,
        *radar,
    ]


def parse_scene(properties: Mapping[str, Any], collection: Collection) -> SceneRecord:
    """A scene from its properties."""
    time_start = properties[TIME_PROPERTY]
    time = (
        datetime.min.replace(tzinfo=UTC)
        if time_start is None
        else EPOCH + timedelta(milliseconds=time_start)
    )
    return SceneRecord(f"{collection.id}/{properties[INDEX_PROPERTY]}", time, properties)


def sort_by_time(scenes: Iterable[SceneRecord]) -> list[SceneRecord]:
    """Scenes, oldest first."""
    return sorted(scenes, key=lambda scene: (scene.time, scene.asset_id))


def to_scene(scene: SceneRecord, collection: Collection) -> Scene:
    """The scene as responses report it."""
    names = collection.gee.processing_properties[:1]
    baseline = next((scene.properties.get(name) for name in names), None)
    return Scene(
        scene.asset_id,
        scene.time,
        scene_cloud_pct(scene, collection),
        collection.harmonized and has_baseline_offset(baseline),
        None if baseline is None else str(baseline),
    )


def scene_cloud_pct(scene: SceneRecord, collection: Collection) -> float | None:
    """Cloud percentage of a scene; None if its metadata has none."""
    name = collection.gee.cloud_property
    return finite_float(scene.properties.get(name)) if name is not None else None


def _platform(scene: SceneRecord, collection: Collection) -> Any:
    return scene.properties.get(collection.gee.platform_property or "")


def _tile(scene: SceneRecord, collection: Collection) -> Any:
    return scene.properties.get(collection.gee.tile_property or "")
