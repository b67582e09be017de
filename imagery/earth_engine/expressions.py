"""Earth Engine expressions, built here and evaluated on the server. Pure."""

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
    """The scenes in the window that intersect the grid.

    The value of the expression has one row per scene under "list": the properties that
    `imagery.earth_engine.scenes.scene_properties` names.
    """
    scenes = ee.ImageCollection(collection.id).filterBounds(
        ee.Geometry.Rectangle(list(query.grid.bounds), query.grid.crs, False)
    )
    if not collection.static:
        bins = time_bins.bin_months(query) if collection.monthly else [(query.start, query.end)]
        scenes = scenes.filterDate(_milliseconds(bins[0][0]), _milliseconds(bins[-1][1]))
    # All properties but the first are optional; other reducers drop scenes that lack one.
    names = scene_properties(collection)
    rows: ee.Dictionary = scenes.reduceColumns(ee.Reducer.toList(len(names), len(names) - 1), names)
    return rows


def stack_frames(
    inputs: Sequence[CompositeInputs], sensor: SensorSpec, collection: Collection
) -> ee.Image:
    """One image with the bands of all frames, named as in `band_names`."""
    images = [
        composite_image(frame, sensor, collection).rename(band_names(position, sensor.bands))
        for position, frame in enumerate(inputs)
    ]
    image: ee.Image = ee.Image.cat(images)
    return image


def band_names(index: int, bands: Sequence[str]) -> list[str]:
    """Names of the bands of a frame in a stack."""
    return [f"t{index}_{band}" for band in bands]


def composite_image(
    inputs: CompositeInputs, sensor: SensorSpec, collection: Collection
) -> ee.Image:
    """The composite of a frame, by the same rules as `imagery.compositing`."""
    image = (
        _composite_passes(inputs, sensor, collection)
        if collection.gee.band_per_image is None
        else ee.Image.cat([_mosaic_band(band, inputs, collection) for band in sensor.bands])
    )
    if collection.unmask_value is not None:
        image = image.unmask(collection.unmask_value, False)
    return image


def masked_scene(asset_id: str, sensor: SensorSpec, collection: Collection) -> ee.Image:
    """The usable pixels of one scene."""
    scene = ee.Image(asset_id)
    slope = collection.gee.derived_slope
    if slope is not None and slope[0] in sensor.bands:
        scene = scene.addBands(ee.Terrain.slope(scene.select([slope[1]])).rename([slope[0]]))
    values: ee.Image = scene.select(list(sensor.bands))
    if collection.resampling != "nearest":
        values = values.resample(collection.resampling)
    if collection.positive_only:
        values = values.updateMask(values.gt(0))
    is_clear = _clear_sky_mask(scene, sensor, collection)
    return values if is_clear is None else values.updateMask(is_clear)


def _composite_passes(
    inputs: CompositeInputs, sensor: SensorSpec, collection: Collection
) -> ee.Image:
    images = [
        _mosaic([masked_scene(scene.asset_id, sensor, collection) for scene in reversed(scenes)])
        for scenes in inputs.passes
    ]
    if sensor.composite == "mosaic" or len(images) == 1:
        return _mosaic(images)
    passes = ee.ImageCollection(images)
    image: ee.Image = passes.mean() if sensor.composite == "mean" else passes.median()
    return image


def _mosaic_band(band: str, inputs: CompositeInputs, collection: Collection) -> ee.Image:
    """A band of a collection whose images hold one band each; the last image wins."""
    assert collection.gee.band_per_image is not None
    name_property, value_band = collection.gee.band_per_image
    images = [
        ee.Image(scene.asset_id).select([value_band]).rename([band])
        for scenes in inputs.passes
        for scene in scenes
        if scene.properties[name_property] == band
    ]
    constant = ee.Image.constant(collection.unmask_value).rename([band])
    return _mosaic(images) if images else constant


def _clear_sky_mask(scene: ee.Image, sensor: SensorSpec, collection: Collection) -> ee.Image | None:
    """1 where a scene shows the ground, else 0 or masked; None if the scene has no quality band."""
    scores, mask = collection.gee.cloud_score, collection.mask
    if sensor.cloud_mask == "cloud_score_plus" and scores is not None:
        # A scene without scores gets a fully masked band.
        linked = scene.linkCollection(ee.ImageCollection(scores.id), [scores.band])
        is_clear: ee.Image = linked.select([scores.band]).gte(scores.threshold)
        return is_clear
    if mask is None:
        return None
    flags = scene.select([mask.band])
    if mask.bits:
        is_clear = flags.bitwiseAnd(mask.bitmask).eq(0)
    else:
        is_clear = flags.remap(list(mask.classes), [0] * len(mask.classes), 1)
    return is_clear


def _mosaic(images: Sequence[ee.Image]) -> ee.Image:
    """The mosaic of some images: per pixel, the last one with data."""
    return images[0] if len(images) == 1 else ee.ImageCollection(list(images)).mosaic()


def _milliseconds(instant: datetime) -> int:
    """Unix milliseconds, rounded up: scene times are whole milliseconds."""
    return -((EPOCH - instant) // timedelta(milliseconds=1))
