"""What Earth Engine is asked to compute: expressions, which it evaluates. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import ee

from geobento.schemas.specs import SensorSpec
from imagery import time_bins
from imagery.collections.schema import Collection
from imagery.earth_engine.scenes import EPOCH, Looks, described
from imagery.source import ImageQuery


def listing(query: ImageQuery, collection: Collection) -> ee.Dictionary:
    """The scenes that lie in the window and meet the grid.

    Its value has under "list" a row of properties per scene, those of `ee_scenes.described`.
    """
    scenes = ee.ImageCollection(collection.id).filterBounds(
        ee.Geometry.Rectangle(list(query.grid.bounds), query.grid.crs, False)
    )
    if not collection.static:
        parts = time_bins.months(query) if collection.monthly else [(query.start, query.end)]
        scenes = scenes.filterDate(_milliseconds(parts[0][0]), _milliseconds(parts[-1][1]))
    # All but the first may be absent; other ways to ask leave out scenes that lack a property.
    names = described(collection)
    rows: ee.Dictionary = scenes.reduceColumns(ee.Reducer.toList(len(names), len(names) - 1), names)
    return rows


def stack(parts: Sequence[Looks], sensor: SensorSpec, collection: Collection) -> ee.Image:
    """One image with the bands of all frames, named by `band_names`."""
    images = [
        composite(looks, sensor, collection).rename(band_names(number, sensor.bands))
        for number, looks in enumerate(parts)
    ]
    image: ee.Image = ee.Image.cat(images)
    return image


def band_names(frame: int, bands: Sequence[str]) -> list[str]:
    """What the bands of a frame are called in a stack."""
    return [f"t{frame}_{band}" for band in bands]


def composite(looks: Looks, sensor: SensorSpec, collection: Collection) -> ee.Image:
    """The scenes of a frame as one image, by the rules of `imagery.compositing`."""
    image = (
        _of_passes(looks, sensor, collection)
        if collection.gee.one_band is None
        else ee.Image.cat([_of_band(band, looks, collection) for band in sensor.bands])
    )
    if collection.elsewhere is not None:
        image = image.unmask(collection.elsewhere, False)
    return image


def look(asset: str, sensor: SensorSpec, collection: Collection) -> ee.Image:
    """The usable pixels of one scene, on whatever lattice they are asked for."""
    scene = ee.Image(asset)
    slope = collection.gee.slope
    if slope is not None and slope[0] in sensor.bands:
        scene = scene.addBands(ee.Terrain.slope(scene.select([slope[1]])).rename([slope[0]]))
    values: ee.Image = scene.select(list(sensor.bands))
    if collection.resampling != "nearest":
        values = values.resample(collection.resampling)
    if collection.positive:
        values = values.updateMask(values.gt(0))
    shows = _clear(scene, sensor, collection)
    return values if shows is None else values.updateMask(shows)


def _of_passes(looks: Looks, sensor: SensorSpec, collection: Collection) -> ee.Image:
    images = [
        _mosaic([look(scene.asset, sensor, collection) for scene in reversed(scenes)])
        for scenes in looks.passes
    ]
    if sensor.composite == "mosaic" or len(images) == 1:
        return _mosaic(images)
    several = ee.ImageCollection(images)
    image: ee.Image = several.mean() if sensor.composite == "mean" else several.median()
    return image


def _of_band(band: str, looks: Looks, collection: Collection) -> ee.Image:
    """A band whose values are in scenes of their own, the last of the collection on top."""
    assert collection.gee.one_band is not None
    named, values = collection.gee.one_band
    images = [
        ee.Image(scene.asset).select([values]).rename([band])
        for scenes in looks.passes
        for scene in scenes
        if scene.properties[named] == band
    ]
    nowhere = ee.Image.constant(collection.elsewhere).rename([band])
    return _mosaic(images) if images else nowhere


def _clear(scene: ee.Image, sensor: SensorSpec, collection: Collection) -> ee.Image | None:
    """Where a scene shows the ground: 0 or masked where it does not; None: it does not say."""
    scores, mask = collection.gee.scores, collection.mask
    if sensor.cloud_mask == "cloud_score_plus" and scores is not None:
        # A scene without scores gets a band that is masked throughout.
        linked = scene.linkCollection(ee.ImageCollection(scores.id), [scores.band])
        shows: ee.Image = linked.select([scores.band]).gte(scores.least)
        return shows
    if mask is None:
        return None
    flags = scene.select([mask.band])
    if mask.bits:
        shows = flags.bitwiseAnd(mask.flags).eq(0)
    else:
        shows = flags.remap(list(mask.classes), [0] * len(mask.classes), 1)
    return shows


def _mosaic(images: Sequence[ee.Image]) -> ee.Image:
    """The last image that has data at a pixel."""
    return images[0] if len(images) == 1 else ee.ImageCollection(list(images)).mosaic()


def _milliseconds(instant: datetime) -> int:
    """Since 1970, rounded up: times of scenes are whole milliseconds."""
    return -((EPOCH - instant) // timedelta(milliseconds=1))
