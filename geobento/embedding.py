"""The answer: an array and what there is to know about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from geobento.specs import SensorSpec

if TYPE_CHECKING:
    import xarray


class _Meta(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class GridMeta(_Meta):
    """Where the pixels of an array lie on the ground; rows run from north to south."""

    crs: str
    """Authority code of the reference system, such as `EPSG:32736`, or WKT where it has none."""
    transform: tuple[float, float, float, float, float, float]
    """(a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f; outer corners."""
    height: int
    """Rows."""
    width: int
    """Columns."""


class SceneMeta(_Meta):
    """One acquisition that the pixels were made from."""

    id: str
    """Id in its catalog."""
    time: str
    """Time of acquisition, ISO 8601, UTC."""
    cloud_pct: float | None
    """Cloud share of the whole scene, percent, as its catalog says."""


class ImageryMeta(_Meta):
    """Which imagery went into an embedding."""

    backend: str
    """Which kind of source answered: `gee`, `stac` or `demo`; `own`: the pixels came with the
    request."""
    source: str
    """The catalog or project that answered; of own data the kind of file."""
    notice: str | None
    """What a reader must know about this imagery; null: nothing."""
    sensor: SensorSpec | None
    """Collection, bands, scale, cloud filter and composite that were used; null for own data."""
    start: str | None
    """First instant inside the window, UTC; null for own data."""
    end: str | None
    """First instant outside the window, UTC; null for own data."""
    scenes: list[SceneMeta]
    """What the composite was made from, oldest first; of own data the times that were given."""
    valid_fraction: float
    """Share of pixels for which any scene had data, 0 to 1; the rest hold the fill value."""
    warnings: list[str] = []
    """What is odd about the pixels, where the request asked to check them or brought them."""
    grid: GridMeta | None
    """The pixels that were fetched; null for own data that do not say where they lie."""


class TilesMeta(_Meta):
    """The tiles in which the model read a place."""

    size: int
    """Side of a tile, pixels."""
    rows: list[int]
    """First pixel row of every row of tiles."""
    columns: list[int]
    """First pixel column of every column of tiles."""


class TextMeta(_Meta):
    """How a text was read."""

    tokens: int
    """Tokens that the model saw, the marks of begin and end among them."""
    truncated: bool
    """Whether the text had more, which were cut off."""


class EmbeddingMeta(_Meta):
    """How an embedding came about."""

    model: str
    """Id of the model."""
    tag: str
    """Name and version of its weights in the model store."""
    variant: str
    """Variant of the weights."""
    weights: str
    """`seeded`, `imported`, or `dummy`: random numbers in place of trained weights."""
    modality: str
    """Kind of input that the model read."""
    pooling: str
    """How the vector came about; `grid` for a grid of vectors."""
    normalized: bool
    """Whether the vector has unit length."""
    precision: str
    """Number format of the forward pass."""
    preprocessing: str
    """Digest of the preprocessing record."""
    config: dict[str, Any] = {}
    """Options of the model that the request set."""
    grid: GridMeta | None = None
    """Where the cells of a grid of vectors lie; null for a vector, and for own data that do not
    say where they lie."""
    tiles: TilesMeta | None = None
    """The tiles in which the model read the place; null: it read all at once."""
    imagery: ImageryMeta | None = None
    """The imagery; null for a picture."""
    text: TextMeta | None = None
    """How the text was read; null where there was none."""


class ClassificationMeta(_Meta):
    """How a classification came about."""

    model: str
    """Id of the model."""
    tag: str
    """Name and version of its weights in the model store."""
    variant: str
    """Variant of the weights."""
    weights: str
    """`seeded`, `imported`, or `dummy`: random numbers in place of trained weights."""
    logit_scale: float
    """The learned factor on the cosine between picture and class before the softmax."""
    template: str
    """Sentence that every class was put into."""
    precision: str
    """Number format of the forward pass."""
    preprocessing: str
    """Digest of the preprocessing record."""
    config: dict[str, Any] = {}
    """Options of the model that the request set."""


@dataclass(frozen=True)
class Embedding:
    """A vector ``(D,)`` or a grid of vectors ``(D, H, W)``, float32.

    Attributes:
        data: The array; rows of a grid run from north to south.
        meta: How it came about.
    """

    data: NDArray[np.float32]
    meta: EmbeddingMeta

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.data, dtype=dtype)

    def to_xarray(self) -> xarray.DataArray:
        """A grid with dimensions (band, y, x), coordinates of the cells' centres, and the CRS.

        Raises:
            SpecError: The embedding is a vector.
        """
        from geobento.rasters import to_xarray

        return to_xarray(self)

    def to_geotiff(self, path: str | Path) -> None:
        """Write a grid as a GeoTIFF, one band for every component of the vectors.

        Raises:
            SpecError: The embedding is a vector.
        """
        from geobento.rasters import to_geotiff

        to_geotiff(self, path)


@dataclass(frozen=True)
class Classification:
    """Which of the given classes a picture shows.

    Attributes:
        probabilities: ``(K,)`` float32 in the order of the request's classes; sum 1.
        meta: How they came about.
    """

    probabilities: NDArray[np.float32]
    meta: ClassificationMeta
