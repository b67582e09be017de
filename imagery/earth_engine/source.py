"""Imagery from Google Earth Engine: look for scenes, plan, compute on the wanted pixels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
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
from imagery.earth_engine.transfer import NODATA, Float32Encoding, PixelEncoding, choose_encoding
from imagery.query import ImageQuery
from imagery.retry import TransientError
from imagery.scenes import count_too_cloudy
from imagery.source import FetchEstimate
from imagery.time_bins import Frame

MAX_REQUEST_BYTES, MAX_REQUEST_SIDE = 48 * 2**20, 32_768
"""What one request may ask for: bytes before compression, and pixels a side."""
MIN_SPLIT_SIDE = 32
"""Grids are not split below this; what is too much then is the number of scenes."""


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
        sensor, collection = query.sensor, registry.get(query.sensor.collection)
        found, parts = self._find_inputs(query, collection, deadline)
        values = self._read_frames(parts, query, collection, deadline)
        has_data = values != np.float32(NODATA)
        pixels = np.where(has_data, values, np.float32(sensor.fill_value))
        seen = [
            Frame(
                looks.index,
                pixels[position],
                np.asarray(has_data[position].all(axis=0)),
                tuple(to_scene(scene, collection) for scene in looks.scenes),
            )
            for position, looks in enumerate(parts)
            if has_data[position].any()
        ]
        if not seen:
            raise _no_imagery_error(query, found, "none has a usable pixel here")
        used = {frame.index for frame in seen}
        return time_bins.assemble_sample(
            seen, query, self._provenance([p for p in parts if p.index in used], collection)
        )

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        """The scenes of a fetch, see `imagery.source.Source`.

        Requests are the one for the scenes and those for pixels, of which there are more where
        Earth Engine refuses one for the work that it would be, or numbers are larger than is
        usual. Bytes are what counts against its bound of a request.
        """
        deadline = time.monotonic() + self._timeout_s
        collection = registry.get(query.sensor.collection)
        _, parts = self._find_inputs(query, collection, deadline)
        band_bytes = len(query.sensor.bands) * len(parts) * pixel_encoding(parts, query).pixel_bytes
        height, width = query.grid.shape
        return FetchEstimate(
            self._provenance(parts, collection),
            (collection.gee.acquisition_date is None)
            + count_pixel_requests(query.grid, band_bytes),
            height * width * band_bytes,
        )

    def _find_inputs(
        self, query: ImageQuery, collection: Collection, deadline: float
    ) -> tuple[list[SceneRecord], list[CompositeInputs]]:
        """The scenes of the window, and those of them to use, of which there is at least one."""
        _check_bands(query.sensor.bands, collection)
        try:
            found = self._client.call(partial(find_scenes, query, collection), deadline)
        except RequestTooLarge as error:
            raise SourceError(
                "Earth Engine cannot search so much at once; take a shorter window"
            ) from error
        parts = plan_composites(found, query, collection)
        if not parts:
            raise _no_imagery_error(query, found, "none is within the limits that were asked for")
        return found, parts

    def _provenance(self, inputs: Sequence[CompositeInputs], collection: Collection) -> Provenance:
        scenes = sort_by_time(scene for looks in inputs for scene in looks.scenes)
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
        """(T, C, H, W) of frames, all in one request where it is not too large for one."""
        sensor = query.sensor
        image = stack_frames(inputs, sensor, collection)
        names = [name for t in range(len(inputs)) for name in band_names(t, sensor.bands)]
        passes_of_all = sum(len(looks.passes) for looks in inputs)
        as_sent = pixel_encoding(inputs, query)
        values = self._read_pixels(image, names, as_sent, query.grid, passes_of_all, deadline)
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
        """(bands, H, W) of an image, in as many requests as it takes."""
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
    """How the pixels of some frames are sent. Pure."""
    several = any(len(looks.passes) > 1 for looks in inputs)
    whole = registry.get(query.sensor.collection).gee.integer_range
    if query.sensor.composite == "mean" and several:
        return choose_encoding(None, half_steps=False)
    return choose_encoding(whole, half_steps=several and query.sensor.composite == "median")


def fits_one_request(grid: PixelGrid, pixel_bytes: int) -> bool:
    """Whether the pixels of a grid, of so many bytes, may be asked for in one request. Pure."""
    height, width = grid.shape
    return (
        height * width * pixel_bytes <= MAX_REQUEST_BYTES and max(height, width) <= MAX_REQUEST_SIDE
    )


def count_pixel_requests(grid: PixelGrid, pixel_bytes: int) -> int:
    """How many requests the pixels of a grid take, if none is refused. Pure."""
    if fits_one_request(grid, pixel_bytes):
        return 1
    first, second, _ = split_grid(grid)
    return count_pixel_requests(first, pixel_bytes) + count_pixel_requests(second, pixel_bytes)


def split_grid(grid: PixelGrid) -> tuple[PixelGrid, PixelGrid, int]:
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


def find_scenes(query: ImageQuery, collection: Collection) -> list[SceneRecord]:
    """Ask which scenes lie in the window and meet the grid, oldest first.

    Scenes of one band each are in the order of the collection; a single image needs no question.
    """
    if collection.gee.acquisition_date is not None:
        return [SceneRecord(collection.id, collection.gee.acquisition_date, {})]
    rows = ee.data.computeValue(list_scenes(query, collection))["list"]
    names = scene_properties(collection)
    found = [parse_scene(dict(zip(names, row, strict=True)), collection) for row in rows]
    return found if collection.gee.band_per_image else sort_by_time(found)


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
        raise TransientError(
            SourceError("Earth Engine answered with other pixels than were asked for")
        )
    return np.stack([pixels[name] for name in bands])


def _check_bands(bands: Sequence[str], collection: Collection) -> None:
    for band in bands:
        if band not in collection.bands:
            raise ModelError(
                f"{collection.id} has no band {band!r}{did_you_mean([band], collection.bands)}; accepted: "
                f"{', '.join(collection.bands)}",
                field="sensor.bands",
            )


def _no_imagery_error(
    query: ImageQuery, scenes: Sequence[SceneRecord], explanation: str
) -> NoImageryError:
    """The error for an empty result, with what Earth Engine does hold."""
    sensor = query.sensor
    collection = registry.get(sensor.collection)
    stated = [cloud for s in scenes if (cloud := scene_cloud_pct(s, collection)) is not None]
    clouds = (
        f" with at most {sensor.cloudy_pct:g} % cloud"
        if collection.gee.cloud_property and sensor.cloudy_pct is not None
        else ""
    )
    reason = f"of {len(scenes)} scenes, {explanation}" if scenes else "it has no scene there"
    return NoImageryError(
        f"Earth Engine has no usable pixel of {sensor.collection} for {query.start.date()} to "
        f"{query.end.date()}{clouds}; {reason}",
        detail={
            "collection": sensor.collection,
            "source": "earth-engine",
            "scenes_in_window": len(scenes),
            "too_cloudy": count_too_cloudy(stated, sensor),
            "min_cloud_pct": min(stated, default=None),
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
