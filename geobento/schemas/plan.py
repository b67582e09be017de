"""Answers of those who look before they leap: what a request would do, what its pixels are like."""

from __future__ import annotations

import base64
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from geobento.schemas.embedding import ImageryMeta, SceneMeta, TilesMeta, TimeRange
from geobento.schemas.grid import GridMeta
from geobento.schemas.requests import ErrorBody
from geobento.schemas.specs import SensorSpec


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RegionPlan(_Record):
    """What would be done for one place."""

    grid: GridMeta
    """The pixels that would be fetched."""
    tiles: TilesMeta | None
    """The tiles in which the model would read the place; null: all at once."""
    inputs: int
    """What the model would get: as many as there are tiles, or one."""
    shape: list[int] | None
    """Shape of the answer; null: known only to the forward pass (grids)."""
    backend: str
    """Which kind of source would be asked: `gee`, `stac` or `demo`."""
    source: str
    """The catalog or project that would answer."""
    notice: str | None
    """What a reader must know about this imagery; null: nothing."""
    scenes: list[SceneMeta]
    """The scenes that would be read, oldest first; some may turn out to have no usable pixel of
    the place."""
    auxiliary: dict[str, list[SceneMeta]]
    """The same of further modalities, by modality."""
    requests: int
    """`stac` and `demo`: files that would be opened. `gee`: requests that would be sent; more,
    where one is refused as too much work."""
    bytes: int
    """Estimated size of the pixels before compression. `stac` and `demo`: 4 bytes for every pixel
    of the grid, band and scene, scene classifications among the bands; files hold less. `gee`: 5
    bytes for every pixel and band, as it counts them; scenes become one image there."""


class ModelCompatibility(_Record):
    """Whether a served model reads what a sensor gives."""

    model: str
    """Id of the model."""
    compatible: bool
    """Whether it takes the sensor's bands in their order."""
    modality: str | None
    """Which of the model's modalities they are; null: none."""
    note: str | None
    """Why it does not fit, or what to mind where it does."""


class EmbeddingPlan(_Record):
    """What a request of `/geo_embedding` would do. Only lists of scenes were asked for."""

    model: str
    """Id of the model."""
    modality: str
    """What the model would read."""
    sensor: SensorSpec
    """Collection, bands, scale, cloud filter and composite that would be used."""
    temporal: TimeRange
    """The window that scenes would be taken from."""
    frames: int
    """Parts of the window, each with a composite of its own; those without a usable pixel are left
    out."""
    auxiliary: list[str]
    """Further modalities that would be fetched."""
    models: list[ModelCompatibility]
    """Which of the models served here read this sensor."""
    regions: list[RegionPlan | ErrorBody]
    """One entry per place, in the order of the request; an entry is a plan or an error."""


class Histogram(_Record):
    """How values are spread: equal bins from the least to the largest.

    Where all values are the same, from a little below to a little above.
    """

    counts: list[int]
    """Pixels in each bin."""
    edges: list[float]
    """Borders of the bins, one more than there are bins; only the last is part of its bin."""


class BandStatistics(_Record):
    """The values of one band, of the pixels with data alone."""

    band: str
    """Name of the band."""
    count: int
    """Pixels with data."""
    min: float
    """Least value."""
    max: float
    """Largest value."""
    mean: float
    """Mean."""
    std: float
    """Standard deviation (of the pixels, not of a population that they are drawn from)."""
    p2: float
    """2 % of the values are at most this."""
    p50: float
    """Median."""
    p98: float
    """98 % of the values are at most this."""
    histogram: Histogram
    """How the values are spread."""


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
    """What the pixels of a place are like."""

    modality: str | None
    """Which of the model's modalities they would be; null where no model was named."""
    units: str
    """Units of the values: the collection's own."""
    bands: list[BandStatistics]
    """One entry per band with data, in the order of the sensor."""
    quicklook: PngImage
    """PNG of the pixels' size: true colour where the bands allow it, or else the first band in
    grey; stretched from the 2nd to the 98th percentile, black where there are no data."""
