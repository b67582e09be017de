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
from geobento.suggestions import hint
from imagery import time_bins
from imagery.collections import registry
from imagery.collections.schema import Collection
from imagery.earth_engine.client import EarthEngineClient, TooMuch
from imagery.earth_engine.expressions import band_names, listing, stack
from imagery.earth_engine.scenes import (
    Found,
    Looks,
    cloud_of,
    described,
    found_of,
    in_order,
    plan,
    scene_of,
)
from imagery.earth_engine.transfer import NO_DATA, Floats, Transfer, transfer
from imagery.retry import Transient
from imagery.scenes import too_cloudy
from imagery.source import ImageQuery, Survey
from imagery.time_bins import Frame

MOST_BYTES, MOST_SIDE = 48 * 2**20, 32_768
"""What one request may ask for: bytes before compression, and pixels a side."""
LEAST_SIDE = 32
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
        found, parts = self._search(query, collection, deadline)
        values = self._read(parts, query, collection, deadline)
        has_data = values != np.float32(NO_DATA)
        pixels = np.where(has_data, values, np.float32(sensor.fill_value))
        seen = [
            Frame(
                looks.number,
                pixels[position],
                np.asarray(has_data[position].all(axis=0)),
                tuple(scene_of(scene, collection) for scene in looks.scenes),
            )
            for position, looks in enumerate(parts)
            if has_data[position].any()
        ]
        if not seen:
            raise _nothing(query, found, "none has a usable pixel here")
        used = {frame.number for frame in seen}
        return time_bins.sample(
            seen, query, self._provenance([p for p in parts if p.number in used], collection)
        )

    def survey(self, query: ImageQuery) -> Survey:
        """The scenes of a fetch, see `imagery.source.Source`.

        Requests are the one for the scenes and those for pixels, of which there are more where
        Earth Engine refuses one for the work that it would be, or numbers are larger than is
        usual. Bytes are what counts against its bound of a request.
        """
        deadline = time.monotonic() + self._timeout_s
        collection = registry.get(query.sensor.collection)
        _, parts = self._search(query, collection, deadline)
        band_bytes = len(query.sensor.bands) * len(parts) * form(parts, query).pixel_bytes
        height, width = query.grid.shape
        return Survey(
            self._provenance(parts, collection),
            (collection.gee.single is None) + pixel_requests(query.grid, band_bytes),
            height * width * band_bytes,
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
        scenes = in_order(scene for looks in parts for scene in looks.scenes)
        return Provenance(
            self.backend,
            "earth-engine",
            tuple(scene_of(scene, collection) for scene in scenes),
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
        as_sent = form(parts, query)
        values = self._pixels(image, names, as_sent, query.grid, passes_of_all, deadline)
        return values.reshape(len(parts), len(sensor.bands), *query.grid.shape)

    def _pixels(
        self,
        image: ee.Image,
        names: Sequence[str],
        as_sent: Transfer,
        grid: PixelGrid,
        looks: int,
        deadline: float,
    ) -> NDArray[np.float32]:
        """(bands, H, W) of an image, in as many requests as it takes."""
        if fits(grid, len(names) * as_sent.pixel_bytes):
            try:
                compute = partial(_compute, as_sent.encoded(image), names, grid)
                pixels = as_sent.decoded(self._client.call(compute, deadline))
            except TooMuch as error:
                if max(grid.shape) <= LEAST_SIDE:
                    raise _too_large(grid, len(names), looks, error) from error
            else:
                if pixels is not None:
                    return pixels
                return self._pixels(image, names, Floats(), grid, looks, deadline)
        first, second, axis = halves(grid)
        parts = [
            self._pixels(image, names, as_sent, part, looks, deadline) for part in (first, second)
        ]
        return np.concatenate(parts, axis=axis + 1)


def form(parts: Sequence[Looks], query: ImageQuery) -> Transfer:
    """How the pixels of some frames are sent. Pure."""
    several = any(len(looks.passes) > 1 for looks in parts)
    whole = registry.get(query.sensor.collection).gee.whole
    if query.sensor.composite == "mean" and several:
        return transfer(None, halves=False)
    return transfer(whole, halves=several and query.sensor.composite == "median")


def fits(grid: PixelGrid, pixel_bytes: int) -> bool:
    """Whether the pixels of a grid, of so many bytes, may be asked for in one request. Pure."""
    height, width = grid.shape
    return height * width * pixel_bytes <= MOST_BYTES and max(height, width) <= MOST_SIDE


def pixel_requests(grid: PixelGrid, pixel_bytes: int) -> int:
    """How many requests the pixels of a grid take, if none is refused. Pure."""
    if fits(grid, pixel_bytes):
        return 1
    first, second, _ = halves(grid)
    return pixel_requests(first, pixel_bytes) + pixel_requests(second, pixel_bytes)


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


def find(query: ImageQuery, collection: Collection) -> list[Found]:
    """Ask which scenes lie in the window and meet the grid, oldest first.

    Scenes of one band each are in the order of the collection; a single image needs no question.
    """
    if collection.gee.single is not None:
        return [Found(collection.id, collection.gee.single, {})]
    rows = ee.data.computeValue(listing(query, collection))["list"]
    names = described(collection)
    found = [found_of(dict(zip(names, row, strict=True)), collection) for row in rows]
    return found if collection.gee.one_band else in_order(found)


def _compute(image: ee.Image, names: Sequence[str], grid: PixelGrid) -> NDArray[Any]:
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
    return np.stack([pixels[name] for name in names])


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
    collection = registry.get(sensor.collection)
    stated = [cloud for s in found if (cloud := cloud_of(s, collection)) is not None]
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
