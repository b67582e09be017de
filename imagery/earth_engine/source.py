"""Imagery from Google Earth Engine: find scenes, plan composites, compute pixels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import ee
import numpy as np
from numpy.typing import NDArray

from geobento.schemas.errors import (
    GeoBentoError,
    ModelError,
    NoImageryError,
    PayloadTooLarge,
    SourceError,
)
from geobento.schemas.sample import PixelGrid, Provenance, Sample
from geobento.suggestions import did_you_mean
from imagery import time_bins
from imagery.collections import registry
from imagery.collections.schema import Collection
from imagery.earth_engine.client import EarthEngineClient, RequestTooLarge
from imagery.earth_engine.expressions import band_names, list_scenes, stack_frames
from imagery.earth_engine.scenes import (
    CompositeInputs,
    SceneRecord,
    parse_scene,
    plan_composites,
    scene_cloud_pct,
    scene_properties,
    sort_by_time,
    to_scene,
)
from imagery.earth_engine.tiling import (
    MIN_SPLIT_SIDE,
    count_pixel_requests,
    fits_one_request,
    split_grid,
)
from imagery.earth_engine.transfer import NODATA, Float32Encoding, PixelEncoding, choose_encoding
from imagery.query import ImageQuery
from imagery.retry import TransientError
from imagery.scenes import count_too_cloudy
from imagery.source import FetchEstimate
from imagery.time_bins import Frame


class EarthEngineSource:
    """Imagery from Earth Engine. A fetch takes two requests: the scenes, then their pixels.

    Args:
        client: Earth Engine client.
        timeout_s: Timeout of one fetch, seconds.
    """

    def __init__(self, client: EarthEngineClient, *, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s

    @property
    def backend(self) -> str:
        """Value of the public ``backend`` parameter that selects this source."""
        return "gee"

    def fetch(self, query: ImageQuery) -> Sample:
        """Fetch one composite, or one per frame, see `imagery.source.Source`."""
        deadline = time.monotonic() + self._timeout_s
        sensor, collection = query.sensor, registry.get(query.sensor.collection)
        scenes, inputs = self._find_inputs(query, collection, deadline)
        values = self._read_frames(inputs, query, collection, deadline)
        has_data = values != np.float32(NODATA)
        pixels = np.where(has_data, values, np.float32(sensor.fill_value))
        frames = [
            Frame(
                frame.index,
                pixels[position],
                np.asarray(has_data[position].all(axis=0)),
                tuple(to_scene(scene, collection) for scene in frame.scenes),
            )
            for position, frame in enumerate(inputs)
            if has_data[position].any()
        ]
        if not frames:
            raise _no_imagery_error(query, scenes, "none has a usable pixel here")
        valid_bins = {frame.index for frame in frames}
        used = [frame for frame in inputs if frame.index in valid_bins]
        return time_bins.assemble_sample(frames, query, self._provenance(used, collection))

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        """Find the scenes of a fetch, see `imagery.source.Source`.

        Requests are one for the scenes plus those for pixels. There are more if Earth Engine
        refuses a request as too expensive, or if values exceed the collection's integer range.
        Bytes are those that count against the limit of a request.
        """
        deadline = time.monotonic() + self._timeout_s
        collection = registry.get(query.sensor.collection)
        _, inputs = self._find_inputs(query, collection, deadline)
        encoding = pixel_encoding(inputs, query)
        band_bytes = len(query.sensor.bands) * len(inputs) * encoding.pixel_bytes
        height, width = query.grid.shape
        return FetchEstimate(
            self._provenance(inputs, collection),
            (collection.gee.acquisition_date is None)
            + count_pixel_requests(query.grid, band_bytes),
            height * width * band_bytes,
        )

    def _find_inputs(
        self, query: ImageQuery, collection: Collection, deadline: float
    ) -> tuple[list[SceneRecord], list[CompositeInputs]]:
        """All scenes of the window, and the scenes of each composite, at least one."""
        _check_bands(query.sensor.bands, collection)
        try:
            scenes = self._client.call(partial(find_scenes, query, collection), deadline)
        except RequestTooLarge as error:
            raise SourceError(
                "Earth Engine cannot search so many scenes at once; take a shorter window"
            ) from error
        inputs = plan_composites(scenes, query, collection)
        if not inputs:
            raise _no_imagery_error(query, scenes, "none is within the limits that were asked for")
        return scenes, inputs

    def _provenance(self, inputs: Sequence[CompositeInputs], collection: Collection) -> Provenance:
        scenes = sort_by_time(scene for frame in inputs for scene in frame.scenes)
        return Provenance(
            self.backend,
            "earth-engine",
            tuple(to_scene(scene, collection) for scene in scenes),
            collection.gee.notice or collection.attribution,
        )

    def _read_frames(
        self,
        inputs: Sequence[CompositeInputs],
        query: ImageQuery,
        collection: Collection,
        deadline: float,
    ) -> NDArray[np.float32]:
        """Pixels (T, C, H, W) of all frames, in one request if they fit."""
        sensor = query.sensor
        image = stack_frames(inputs, sensor, collection)
        names = [name for t in range(len(inputs)) for name in band_names(t, sensor.bands)]
        passes = sum(len(frame.passes) for frame in inputs)
        encoding = pixel_encoding(inputs, query)
        values = self._read_pixels(image, names, encoding, query.grid, passes, deadline)
        return values.reshape(len(inputs), len(sensor.bands), *query.grid.shape)

    def _read_pixels(
        self,
        image: ee.Image,
        bands: Sequence[str],
        encoding: PixelEncoding,
        grid: PixelGrid,
        passes: int,
        deadline: float,
    ) -> NDArray[np.float32]:
        """Pixels (bands, H, W) of an image, in one or more requests."""
        if fits_one_request(grid, len(bands) * encoding.pixel_bytes):
            try:
                compute = partial(_compute_pixels, encoding.encode(image), bands, grid)
                pixels = encoding.decode(self._client.call(compute, deadline))
            except RequestTooLarge as error:
                if max(grid.shape) <= MIN_SPLIT_SIDE:
                    raise _too_large_error(grid, len(bands), passes, error) from error
            else:
                if pixels is not None:
                    return pixels
                return self._read_pixels(image, bands, Float32Encoding(), grid, passes, deadline)
        first, second, axis = split_grid(grid)
        parts = [
            self._read_pixels(image, bands, encoding, part, passes, deadline)
            for part in (first, second)
        ]
        return np.concatenate(parts, axis=axis + 1)


def pixel_encoding(inputs: Sequence[CompositeInputs], query: ImageQuery) -> PixelEncoding:
    """The encoding in which the pixels of some frames are transferred. Pure."""
    has_several = any(len(frame.passes) > 1 for frame in inputs)
    integer_range = registry.get(query.sensor.collection).gee.integer_range
    if query.sensor.composite == "mean" and has_several:
        return choose_encoding(None, half_steps=False)
    half_steps = has_several and query.sensor.composite == "median"
    return choose_encoding(integer_range, half_steps=half_steps)


def find_scenes(query: ImageQuery, collection: Collection) -> list[SceneRecord]:
    """Request the scenes in the window that intersect the grid, oldest first.

    Images of one band each keep the order of the collection. A collection of a single image needs
    no request.
    """
    if collection.gee.acquisition_date is not None:
        return [SceneRecord(collection.id, collection.gee.acquisition_date, {})]
    rows = ee.data.computeValue(list_scenes(query, collection))["list"]
    names = scene_properties(collection)
    scenes = [parse_scene(dict(zip(names, row, strict=True)), collection) for row in rows]
    return scenes if collection.gee.band_per_image else sort_by_time(scenes)


def _compute_pixels(image: ee.Image, bands: Sequence[str], grid: PixelGrid) -> NDArray[Any]:
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
    if pixels.shape != grid.shape or set(pixels.dtype.names or ()) != set(bands):
        raise TransientError(SourceError("Earth Engine returned other pixels than requested"))
    return np.stack([pixels[name] for name in bands])


def _check_bands(bands: Sequence[str], collection: Collection) -> None:
    for band in bands:
        if band not in collection.bands:
            raise ModelError(
                f"{collection.id} has no band {band!r}{did_you_mean([band], collection.bands)}; "
                f"accepted: {', '.join(collection.bands)}",
                field="sensor.bands",
            )


def _no_imagery_error(
    query: ImageQuery, scenes: Sequence[SceneRecord], explanation: str
) -> NoImageryError:
    """The error for an empty result. Its detail describes the scenes that do exist."""
    sensor = query.sensor
    collection = registry.get(sensor.collection)
    cloud_percentages = [
        cloud for scene in scenes if (cloud := scene_cloud_pct(scene, collection)) is not None
    ]
    limit = (
        f" with at most {sensor.cloudy_pct:g} % cloud"
        if collection.gee.cloud_property and sensor.cloudy_pct is not None
        else ""
    )
    reason = f"of {len(scenes)} scenes, {explanation}" if scenes else "it has no scene there"
    return NoImageryError(
        f"Earth Engine has no usable pixel of {sensor.collection} for {query.start.date()} to "
        f"{query.end.date()}{limit}; {reason}",
        detail={
            "collection": sensor.collection,
            "source": "earth-engine",
            "scenes_in_window": len(scenes),
            "too_cloudy": count_too_cloudy(cloud_percentages, sensor),
            "min_cloud_pct": min(cloud_percentages, default=None),
        },
    )


def _too_large_error(
    grid: PixelGrid, bands: int, passes: int, error: RequestTooLarge
) -> GeoBentoError:
    height, width = grid.shape
    return PayloadTooLarge(
        f"Earth Engine cannot compute {bands} bands of {passes} passes even for {height} x {width} "
        f"pixels ({str(error)[:100]}); take a shorter window",
        detail={"bands": bands, "passes": passes, "height": height, "width": width},
    )
