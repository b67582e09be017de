"""Imagery from Google Earth Engine: look for scenes, plan, compute on the wanted pixels."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray

from geobento.errors import GeoBentoError, ModelError, NoImageryError, PayloadTooLarge, SourceError
from geobento.near import hint
from geobento.sample import PixelGrid, Provenance, Sample, Scene
from geobento.specs import SensorSpec
from imagery import collections, frames
from imagery.collections import Collection
from imagery.ee_client import EarthEngineClient, TooMuch
from imagery.frames import Frame
from imagery.retry import Transient
from imagery.scenes import newest, passes, radar_looks, too_cloudy
from imagery.source import ImageQuery, Survey

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NO_DATA = -1e30
"""Stands for pixels without data, which the transfer format has no sign for."""
MOST_BYTES, MOST_SIDE = 48 * 2**20, 32_768
"""What one request may ask for: bytes before compression, and pixels a side."""
PIXEL_BYTES = 5
"""A float32, and the byte of its mask, which counts."""
LEAST_SIDE = 32
"""Grids are not split below this; what is too much then is the number of scenes."""
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
        return _in_order(scene for looks in self.passes for scene in looks)


class EarthEngineSource:
    """A source over Earth Engine. Two requests per place: which scenes, and their pixels.

    Args:
        client: How it is asked.
        timeout_s: Longest time for one fetch.
    """

    def __init__(self, client: EarthEngineClient, *, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s

    @property
    def backend(self) -> str:
        """The word of the public ``backend`` parameter."""
        return "gee"

    def fetch(self, query: ImageQuery) -> Sample:
        """One composite, or one per frame, see `imagery.source.Source`."""
        deadline = time.monotonic() + self._timeout_s
        sensor, collection = query.sensor, collections.get(query.sensor.collection)
        found, parts = self._search(query, collection, deadline)
        values = self._read(parts, query, collection, deadline)
        has_data = values != np.float32(NO_DATA)
        pixels = np.where(has_data, values, np.float32(sensor.fill_value))
        seen = [
            Frame(
                looks.number,
                pixels[position],
                np.asarray(has_data[position].all(axis=0)),
                tuple(_scene(scene, collection) for scene in looks.scenes),
            )
            for position, looks in enumerate(parts)
            if has_data[position].any()
        ]
        if not seen:
            raise _nothing(query, found, "none has a usable pixel here")
        used = {frame.number for frame in seen}
        return frames.sample(
            seen, query, self._provenance([p for p in parts if p.number in used], collection)
        )

    def survey(self, query: ImageQuery) -> Survey:
        """The scenes of a fetch, see `imagery.source.Source`.

        Requests are the one for the scenes and those for pixels, of which there are more where
        Earth Engine refuses one for the work that it would be. Bytes are what counts against its
        bound of a request.
        """
        deadline = time.monotonic() + self._timeout_s
        collection = collections.get(query.sensor.collection)
        _, parts = self._search(query, collection, deadline)
        bands = len(query.sensor.bands) * len(parts)
        height, width = query.grid.shape
        return Survey(
            self._provenance(parts, collection),
            (collection.gee.single is None) + pixel_requests(query.grid, bands),
            height * width * bands * PIXEL_BYTES,
        )

    def _search(
        self, query: ImageQuery, collection: Collection, deadline: float
    ) -> tuple[list[Found], list[Looks]]:
        """The scenes of the window, and those of them to use, of which there is at least one."""
        _check_bands(query.sensor.bands, collection)
        try:
            found = self._client.call(partial(find, query, collection), deadline)
        except TooMuch as error:
            raise SourceError(
                "Earth Engine cannot search so much at once; take a shorter window"
            ) from error
        parts = plan(found, query, collection)
        if not parts:
            raise _nothing(query, found, "none is within the limits that were asked for")
        return found, parts

    def _provenance(self, parts: Sequence[Looks], collection: Collection) -> Provenance:
        scenes = _in_order(scene for looks in parts for scene in looks.scenes)
        return Provenance(
            self.backend,
            "earth-engine",
            tuple(_scene(scene, collection) for scene in scenes),
            collection.gee.notice or collection.attribution,
        )

    def _read(
        self,
        parts: Sequence[Looks],
        query: ImageQuery,
        collection: Collection,
        deadline: float,
    ) -> NDArray[np.float32]:
        """(T, C, H, W) of frames, all in one request where it is not too large for one."""
        sensor = query.sensor
        image = stack(parts, sensor, collection)
        names = [name for t in range(len(parts)) for name in band_names(t, sensor.bands)]
        passes_of_all = sum(len(looks.passes) for looks in parts)
        values = self._pixels(image, names, query.grid, passes_of_all, deadline)
        return values.reshape(len(parts), len(sensor.bands), *query.grid.shape)

    def _pixels(
        self,
        image: ee.Image,
        names: Sequence[str],
        grid: PixelGrid,
        looks: int,
        deadline: float,
    ) -> NDArray[np.float32]:
        """(bands, H, W) of an image, in as many requests as it takes."""
        if fits(grid, len(names)):
            try:
                compute = partial(_compute, image, names, grid)
                return self._client.call(compute, deadline)
            except TooMuch as error:
                if max(grid.shape) <= LEAST_SIDE:
                    raise _too_large(grid, len(names), looks, error) from error
        first, second, axis = halves(grid)
        parts = [self._pixels(image, names, part, looks, deadline) for part in (first, second)]
        return np.concatenate(parts, axis=axis + 1)


def find(query: ImageQuery, collection: Collection) -> list[Found]:
    """Ask which scenes lie in the window and meet the grid, oldest first.

    Scenes of one band each are in the order of the collection; a single image needs no question.
    """
    if collection.gee.single is not None:
        return [Found(collection.id, collection.gee.single, {})]
    names = ["system:index", "system:time_start", *_described(collection)]
    scenes = ee.ImageCollection(collection.id).filterBounds(
        ee.Geometry.Rectangle(list(query.grid.bounds), query.grid.crs, False)
    )
    if not collection.static:
        parts = frames.months(query) if collection.monthly else [(query.start, query.end)]
        scenes = scenes.filterDate(_milliseconds(parts[0][0]), _milliseconds(parts[-1][1]))
    # All but the first may be absent; other ways to ask leave out scenes that lack a property.
    listing = scenes.reduceColumns(ee.Reducer.toList(len(names), len(names) - 1), names)
    rows = ee.data.computeValue(listing)["list"]
    found = [_found(dict(zip(names, row, strict=True)), collection) for row in rows]
    return found if collection.gee.one_band else _in_order(found)


def plan(found: Sequence[Found], query: ImageQuery, collection: Collection) -> list[Looks]:
    """Which scenes to use in every part of the window, and which of them are one pass. Pure.

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
        if sensor.cloudy_pct is None or (_cloud(scene, collection) or 0.0) <= sensor.cloudy_pct
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
        monthly = frames.by_months(clear, lambda scene: scene.time, query)
        return [Looks(number, tuple((s,) for s in part)) for number, part in monthly.items()]
    groups = [
        tuple(clear[position] for position in group)
        for group in passes([(_platform(scene, collection), scene.time) for scene in clear])
    ]
    parts = frames.split(groups, lambda scene: scene.time, query)
    return [Looks(number, tuple(map(tuple, part))) for number, part in parts.items()]


def radar(scenes: Sequence[Found], sensor: SensorSpec) -> list[Found]:
    """Of Sentinel-1 scenes those that the sensor asks for. Pure.

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


def stack(parts: Sequence[Looks], sensor: SensorSpec, collection: Collection) -> ee.Image:
    """One image with the bands of all frames, named by `band_names`, `NO_DATA` in the gaps."""
    images = [
        composite(looks, sensor, collection).rename(band_names(number, sensor.bands))
        for number, looks in enumerate(parts)
    ]
    image: ee.Image = ee.Image.cat(images).unmask(NO_DATA, False).toFloat()
    return image


def band_names(frame: int, bands: Sequence[str]) -> list[str]:
    """What the bands of a frame are called in a stack. Pure."""
    return [f"t{frame}_{band}" for band in bands]


def composite(looks: Looks, sensor: SensorSpec, collection: Collection) -> ee.Image:
    """The scenes of a frame as one image, by the rules of `imagery.composite`."""
    image = (
        _of_passes(looks, sensor, collection)
        if collection.gee.one_band is None
        else ee.Image.cat([_of_band(band, looks, collection) for band in sensor.bands])
    )
    if collection.elsewhere is not None:
        image = image.unmask(collection.elsewhere, False)
    return image


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


def fits(grid: PixelGrid, bands: int) -> bool:
    """Whether the pixels of a grid may be asked for in one request. Pure."""
    height, width = grid.shape
    return height * width * bands * PIXEL_BYTES <= MOST_BYTES and max(height, width) <= MOST_SIDE


def pixel_requests(grid: PixelGrid, bands: int) -> int:
    """How many requests the pixels of a grid take, if none is refused. Pure."""
    if fits(grid, bands):
        return 1
    first, second, _ = halves(grid)
    return pixel_requests(first, bands) + pixel_requests(second, bands)


def halves(grid: PixelGrid) -> tuple[PixelGrid, PixelGrid, int]:
    """A grid cut across its longer side: both parts, and which of (rows, columns) was cut. Pure."""
    a, b, left, d, e, top = grid.transform
    if grid.height >= grid.width:
        rows = grid.height // 2
        lower = replace(
            grid, transform=(a, b, left, d, e, top + e * rows), height=grid.height - rows
        )
        return replace(grid, height=rows), lower, 0
    columns = grid.width // 2
    right = replace(
        grid, transform=(a, b, left + a * columns, d, e, top), width=grid.width - columns
    )
    return replace(grid, width=columns), right, 1


def _compute(image: ee.Image, names: Sequence[str], grid: PixelGrid) -> NDArray[np.float32]:
    a, b, left, d, e, top = grid.transform
    pixels = ee.data.computePixels(
        {
            "expression": image,
            "fileFormat": "NUMPY_NDARRAY",
            "grid": {
                "dimensions": {"width": grid.width, "height": grid.height},
                "crsCode": grid.crs,
                "affineTransform": {
                    "scaleX": a,
                    "shearX": b,
                    "translateX": left,
                    "shearY": d,
                    "scaleY": e,
                    "translateY": top,
                },
            },
        }
    )
    if pixels.shape != grid.shape or set(pixels.dtype.names or ()) != set(names):
        raise Transient(SourceError("Earth Engine answered with other pixels than were asked for"))
    return np.stack([pixels[name] for name in names]).astype(np.float32)


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


def _described(collection: Collection) -> list[str]:
    """Properties of scenes that the plan needs."""
    entry = collection.gee
    single = (entry.cloud_property, entry.platform_property, entry.tile_property)
    named = [name for name in (*single, *(entry.one_band or ())[:1]) if name is not None]
    of_radar = (MODE, POLARISATIONS, DIRECTION) if entry.radar else ()
    return [*named, *entry.processing_properties, *of_radar]


def _found(properties: Mapping[str, Any], collection: Collection) -> Found:
    started = properties["system:time_start"]
    when = (
        datetime.min.replace(tzinfo=UTC)
        if started is None
        else EPOCH + timedelta(milliseconds=started)
    )
    return Found(f"{collection.id}/{properties['system:index']}", when, properties)


def _in_order(scenes: Iterable[Found]) -> list[Found]:
    return sorted(scenes, key=lambda scene: (scene.time, scene.asset))


def _scene(scene: Found, collection: Collection) -> Scene:
    named = collection.gee.processing_properties[:1]
    stated = next((scene.properties.get(name) for name in named), None)
    return Scene(
        scene.asset,
        scene.time,
        _cloud(scene, collection),
        collection.harmonised and collections.has_offset(stated),
        None if stated is None else str(stated),
    )


def _cloud(scene: Found, collection: Collection) -> float | None:
    name = collection.gee.cloud_property
    return collections.number(scene.properties.get(name)) if name is not None else None


def _platform(scene: Found, collection: Collection) -> Any:
    return scene.properties.get(collection.gee.platform_property or "")


def _tile(scene: Found, collection: Collection) -> Any:
    return scene.properties.get(collection.gee.tile_property or "")


def _milliseconds(instant: datetime) -> int:
    """Since 1970, rounded up: times of scenes are whole milliseconds."""
    return -((EPOCH - instant) // timedelta(milliseconds=1))


def _check_bands(bands: Sequence[str], collection: Collection) -> None:
    for band in bands:
        if band not in collection.bands:
            raise ModelError(
                f"{collection.id} has no band {band!r}{hint([band], collection.bands)}; accepted: "
                f"{', '.join(collection.bands)}",
                field="sensor.bands",
            )


def _nothing(query: ImageQuery, found: Sequence[Found], why: str) -> NoImageryError:
    """The error for an empty result, with what Earth Engine does hold."""
    sensor = query.sensor
    collection = collections.get(sensor.collection)
    stated = [cloud for s in found if (cloud := _cloud(s, collection)) is not None]
    clouds = (
        f" with at most {sensor.cloudy_pct:g} % cloud"
        if collection.gee.cloud_property and sensor.cloudy_pct is not None
        else ""
    )
    reason = f"of {len(found)} scenes, {why}" if found else "it has no scene there"
    return NoImageryError(
        f"Earth Engine has no usable pixel of {sensor.collection} for {query.start.date()} to "
        f"{query.end.date()}{clouds}; {reason}",
        detail={
            "collection": sensor.collection,
            "source": "earth-engine",
            "scenes_in_window": len(found),
            "too_cloudy": too_cloudy(stated, sensor),
            "least_cloud_pct": min(stated, default=None),
        },
    )


def _too_large(grid: PixelGrid, bands: int, looks: int, error: TooMuch) -> GeoBentoError:
    height, width = grid.shape
    return PayloadTooLarge(
        f"Earth Engine cannot compute {bands} bands of {looks} passes even for {height} x {width} "
        f"pixels ({str(error)[:100]}); take a shorter window",
        detail={"bands": bands, "passes": looks, "height": height, "width": width},
    )
