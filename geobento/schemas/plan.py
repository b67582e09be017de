"""Results of `plan_embedding` and `inspect_patch`."""

from __future__ import annotations

import base64
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from geobento.schemas.embedding import ImageryMeta, SceneMeta, TilesMeta, TimeRange
from geobento.schemas.grid import GridMeta
from geobento.schemas.records import Record
from geobento.schemas.responses import ErrorBody
from geobento.schemas.specs import SensorSpec


class RegionPlan(Record):
    """Plan for one region."""

    grid: GridMeta
    """Grid of the pixels to fetch."""
    tiles: TilesMeta | None
    """Tiles of the region; null: not tiled."""
    inputs: int
    """Number of inputs of the model: the number of tiles, or one."""
    shape: list[int] | None
    """Shape of the result; null: known only after the forward pass (grids)."""
    backend: str
    """Kind of the source: `gee`, `stac` or `demo`."""
    source: str
    """The catalog or project."""
    notice: str | None
    """Notice that must accompany this imagery; null: none."""
    scenes: list[SceneMeta]
    """Scenes to read, oldest first; some may have no usable pixel of the region."""
    auxiliary: dict[str, list[SceneMeta]]
    """Scenes of auxiliary modalities, by modality."""
    requests: int
    """`stac` and `demo`: number of files to open. `gee`: number of requests to send; more if Earth
    Engine rejects one as too large."""
    bytes: int
    """Estimated size of the pixels before compression. `stac` and `demo`: 4 bytes per pixel of the
    grid, band and scene, including scene classifications; files hold less. `gee`: 5 bytes per pixel
    and band, as Earth Engine counts them; it composites the scenes itself."""


class ModelCompatibility(Record):
    """Whether a served model reads the pixels of a sensor."""

    model: str
    """Id of the model."""
    compatible: bool
    """Whether the model reads the bands of the sensor, in their order."""
    modality: str | None
    """Modality of the bands; null: none of the model."""
    note: str | None
    """Why it is not compatible, or what to mind if it is."""


class EmbeddingPlan(Record):
    """What a request to `/geo_embedding` would do. Only lists of scenes are requested for it."""

    model: str
    """Id of the model."""
    modality: str
    """Modality of the request."""
    sensor: SensorSpec
    """Collection, bands, scale, cloud filter and composite."""
    temporal: TimeRange
    """Time window of the scenes."""
    frames: int
    """Number of frames: parts of the window with a composite each. Frames without a usable pixel
    are left out."""
    auxiliary: list[str]
    """Auxiliary modalities to fetch."""
    models: list[ModelCompatibility]
    """Compatibility of the served models with this sensor."""
    regions: list[RegionPlan | ErrorBody]
    """One entry per region, in the order of the request; an entry is a plan or an error."""


class Histogram(Record):
    """Histogram with equal bins from the minimum to the maximum.

    If all values are equal, the bins reach from a little below to a little above.
    """

    counts: list[int]
    """Number of pixels in each bin."""
    edges: list[float]
    """Edges of the bins, one more than bins. A bin includes its left edge, the last one both."""


class BandStatistics(Record):
    """Statistics of one band, over pixels with data."""

    band: str
    """Name of the band."""
    count: int
    """Number of pixels with data."""
    min: float
    """Minimum."""
    max: float
    """Maximum."""
    mean: float
    """Mean."""
    std: float
    """Standard deviation, with N in the denominator."""
    p2: float
    """2nd percentile."""
    p50: float
    """Median."""
    p98: float
    """98th percentile."""
    histogram: Histogram
    """Histogram."""


def _decode_base64(value: object) -> object:
    return base64.b64decode(value, validate=True) if isinstance(value, str) else value


PngImage = Annotated[
    bytes,
    BeforeValidator(_decode_base64),
    PlainSerializer(lambda data: base64.b64encode(data).decode(), str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}
    ),
]


class Inspection(ImageryMeta):
    """Description of the pixels of a region."""

    modality: str | None
    """Modality of the model; null: the request has no model."""
    units: str
    """Units of the values, those of the collection."""
    bands: list[BandStatistics]
    """One entry per band with data, in the order of the sensor."""
    quicklook: PngImage
    """PNG with the size of the pixels: true colour if the bands allow it, otherwise the first band
    in grey. Stretched from the 2nd to the 98th percentile; pixels without data are black."""
