"""What Earth Engine is asked to compute: expressions, which it evaluates. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import ee

from geobento.schemas.specs import SensorSpec
from imagery import time_bins
from imagery.collections.schema import Collection
from imagery.earth_engine.scenes import EPOCH, CompositeInputs, scene_properties
from imagery.query import ImageQuery


def list_scenes(query: ImageQuery, collection: Collection) -> ee.Dictionary:
    """The scenes that lie in the window and meet the grid.

    Its value has under "list" a row of properties per scene, those of `ee_scenes.described`.
    """
    scenes = ee.ImageCollection(collection.id).filterBounds(
        ee.Geometry.Rectangle(list(query.grid.bounds), query.grid.crs, False)
    )
    if not collection.static:
        parts = time_bins.bin_months(query) if collection.monthly else [(query.start, query.end)]
        scenes = scenes.filterDate(_milliseconds(parts[0][0]), _milliseconds(parts[-1][1]))
    # All but the first may be absent; other ways to ask leave out scenes that lack a property.
    names = scene_properties(collection)
    rows: ee.Dictionary = scenes.reduceColumns(ee.Reducer.toList(len(names), len(names) - 1), names)
    return rows


def stack_frames(
    inputs: Sequence[CompositeInputs], sensor: SensorSpec, collection: Collection
) -> ee.Image:
    """One image with the bands of all frames, named by `band_names`."""
    images = [
        composite_image(looks, sensor, collection).rename(band_names(number, sensor.bands))
        for number, looks in enumerate(inputs)
    ]
    image: ee.Image = ee.Image.cat(images)
    return image


def band_names(index: int, bands: Sequence[str]) -> list[str]:
    """What the bands of a frame are called in a stack."""
    return [f"t{index}_{band}" for band in bands]


def composite_image(
    inputs: CompositeInputs, sensor: SensorSpec, collection: Collection
) -> ee.Image:
    """The scenes of a frame as one image, by the rules of `imagery.compositing`."""
    image = (
        _composite_passes(inputs, sensor, collection)
        if collection.gee.band_per_image is None
        else ee.Image.cat([_mosaic_band(band, inputs, collection) for band in sensor.bands])
    )
    if collection.unmask_value is not None:
        image = image.unmask(collection.unmask_value, False)
    return image


def masked_scene(asset_id: str, sensor: SensorSpec, collection: Collection) -> ee.Image:
    """The usable pixels of one scene, on whatever lattice they are asked for."""
    scene = ee.Image(asset_id)
    slope = collection.gee.derived_slope
    if slope is not None and slope[0] in sensor.bands:
        scene = scene.addBands(ee.Terrain.slope(scene.select([slope[1]])).rename([slope[0]]))
    values: ee.Image = scene.select(list(sensor.bands))
    if collection.resampling != "nearest":
        values = values.resample(collection.resampling)
    if collection.positive_only:
        values = values.updateMask(values.gt(0))
    shows = _clear_sky_mask(scene, sensor, collection)
    return values if shows is None else values.updateMask(shows)


def _composite_passes(
    inputs: CompositeInputs, sensor: SensorSpec, collection: Collection
) -> ee.Image:
    images = [
        _mosaic([masked_scene(scene.asset_id, sensor, collection) for scene in reversed(scenes)])
        for scenes in inputs.passes
    ]
    if sensor.composite == "mosaic" or len(images) == 1:
        return _mosaic(images)
    several = ee.ImageCollection(images)
    image: ee.Image = several.mean() if sensor.composite == "mean" else several.median()
    return image


def _mosaic_band(band: str, inputs: CompositeInputs, collection: Collection) -> ee.Image:
    """A band whose values are in scenes of their own, the last of the collection on top."""
    assert collection.gee.band_per_image is not None
    named, values = collection.gee.band_per_image
    images = [
        ee.Image(scene.asset_id).select([values]).rename([band])
        for scenes in inputs.passes
        for scene in scenes
        if scene.properties[named] == band
    ]
    nowhere = ee.Image.constant(collection.unmask_value).rename([band])
    return _mosaic(images) if images else nowhere


def _clear_sky_mask(scene: ee.Image, sensor: SensorSpec, collection: Collection) -> ee.Image | None:
    """Where a scene shows the ground: 0 or masked where it does not; None: it does not say."""
    scores, mask = collection.gee.cloud_score, collection.mask
    if sensor.cloud_mask == "cloud_score_plus" and scores is not None:
        # A scene without scores gets a band that is masked throughout.
        linked = scene.linkCollection(ee.ImageCollection(scores.id), [scores.band])
        shows: ee.Image = linked.select([scores.band]).gte(scores.threshold)
        return shows
    if mask is None:
        return None
    flags = scene.select([mask.band])
    if mask.bits:
        shows = flags.bitwiseAnd(mask.bitmask).eq(0)
    else:
        shows = flags.remap(list(mask.classes), [0] * len(mask.classes), 1)
    return shows


def _mosaic(images: Sequence[ee.Image]) -> ee.Image:
    """The last image that has data at a pixel."""
    return images[0] if len(images) == 1 else ee.ImageCollection(list(images)).mosaic()


def _milliseconds(instant: datetime) -> int:
    """Since 1970, rounded up: times of scenes are whole milliseconds."""
    return -((EPOCH - instant) // timedelta(milliseconds=1))
