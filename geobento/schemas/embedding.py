"""The answer: an array and what there is to know about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from geobento.schemas import export
from geobento.schemas.errors import SpecError
from geobento.schemas.grid import GridMeta, Transform
from geobento.schemas.specs import SensorSpec

if TYPE_CHECKING:
    import xarray


class _Meta(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SceneMeta(_Meta):
    """One acquisition that the pixels were made from."""

    id: str
    """Id in its catalog."""
    time: str
    """Time of acquisition, ISO 8601, UTC."""
    cloud_pct: float | None
    """Cloud share of the whole scene, percent, as its catalog says."""
    processing: str | None = None
    """Baseline of its processing, as its catalog says, such as `05.09`; null: it does not."""
    offset_applied: bool = False
    """Whether the offset that newer processing has in its raw values was taken out of them, by the
    source or here."""


class TimeRange(_Meta):
    """A half-open window of time."""

    start: str
    """First instant inside, ISO 8601, UTC."""
    end: str
    """First instant outside, ISO 8601, UTC."""


class TilesMeta(_Meta):
    """The tiles in which the model read a place."""

    size: int
    """Side of a tile, pixels."""
    rows: list[int]
    """First pixel row of every row of tiles."""
    columns: list[int]
    """First pixel column of every column of tiles."""


class FramesMeta(_Meta):
    """The composites in time that the model read."""

    requested: int
    """Parts of the window that were asked for."""
    distinct: int
    """Parts that have a usable pixel: the frames that the model read."""
    filled: int = 0
    """Frames repeated in place of missing ones."""
    dropped: list[int]
    """Numbers of the parts, from 0, that were left out."""
    times: list[str]
    """Of every frame halfway between its first and its last scene, ISO 8601, UTC."""


class TextMeta(_Meta):
    """How a text was read."""

    tokens: int
    """Tokens that the model saw, the marks of begin and end among them."""
    truncated: bool
    """Whether the text had more, which were cut off."""


class ComputedMeta(_Meta):
    """What was computed, and by what."""

    model: str
    """Id of the model."""
    type: str
    """`on_the_fly`: computed for the request. `precomputed`: read from a finished product."""
    variant: str
    """Variant of the weights."""
    tag: str
    """Name and version of the weights in the model store."""
    weights: str
    """Sha256 of the weights, or `dummy`: random numbers in place of trained weights."""
    preprocessing: str
    """Digest of the preprocessing record; vectors may be compared where it is the same."""
    precision: str
    """Number format of the forward pass."""
    config: dict[str, Any] = {}
    """Options of the model that the request set."""

    dim: int
    """Length D of the vectors."""
    pooling: str
    """How the vector came about; `grid` for a grid of vectors."""
    normalized: bool
    """Whether the vector has unit length."""
    cls_removed: bool
    """Whether the network has tokens beside those of the grid that were left out."""
    grid_hw: tuple[int, int] | None = None
    """Rows and columns of a grid of vectors."""

    modality: str
    """Kind of input that the model read."""
    image_size: tuple[int, int] | None = None
    """Height and width of what the network read at once, pixels; null: as large as the input."""
    input_prep: str | None = None
    """How a place was brought to the network: `resize` (as a whole) or `tile`."""
    tiles: TilesMeta | None = None
    """The tiles in which the model read the place."""
    text: TextMeta | None = None
    """How a text was read."""


class ImageryMeta(_Meta):
    """What was fetched or brought; null where nothing was, and where own data do not say it."""

    backend: str | None = None
    """Which kind of source answered: `gee`, `stac` or `demo`; `user`: the pixels came with the
    request."""
    source: str | None = None
    """The catalog or project that answered; of own data the kind of file."""
    notice: str | None = None
    """What a reader must know about this imagery."""
    sensor: SensorSpec | None = None
    """Collection, bands, scale, cloud filter and composite that were used."""
    temporal: TimeRange | None = None
    """The window that scenes were taken from."""
    frames: FramesMeta | None = None
    """The composites in time; null: one of the whole window."""
    scenes: list[SceneMeta] | None = None
    """What the composite was made from, oldest first; of own data the times that were given."""
    offset_applied: bool | None = None
    """Whether the offset that newer processing has in its raw values was taken out of those of any
    scene."""
    cached: bool | None = None
    """Whether the pixels were kept from an earlier fetch; null where none are kept."""
    valid_fraction: float | None = None
    """Share of pixels for which any scene had data, 0 to 1; the rest hold the fill value."""
    warnings: list[str] = []
    """What is odd about the pixels, where the request asked to check them or brought them."""
    crs: str | None = None
    """Reference system of the data: of the grid of vectors or, for a vector, of the pixels."""
    transform: Transform | None = None
    """(a, b, c, d, e, f) of the same: x = a col + b row + c, y = d col + e row + f; outer
    corners."""
    footprint: list[tuple[float, float]] | None = None
    """Corners of the pixels in longitude and latitude, a closed ring."""
    pixels: GridMeta | None = None
    """The pixels that were fetched or brought."""

    def without_timing(self) -> Self:
        """The same without how it went this time: equal for equal requests."""
        return self.model_copy(update={"cached": None})


class EmbeddingMeta(ImageryMeta, ComputedMeta):
    """How an embedding came about. The names are the same for pictures, texts and places; what does
    not apply is null.
    """

    auxiliary: dict[str, ImageryMeta] = {}
    """What was fetched of further modalities, by modality."""
    timing_ms: dict[str, float] = {}
    """How long the steps took: `fetch` (from the source or, if `cached`, from disk), `prepare`,
    `encode` (with the wait for a batch)."""

    @property
    def grid(self) -> GridMeta | None:
        """Where the cells of a grid of vectors lie; None for a vector, or where it lies nowhere."""
        if self.grid_hw is None or self.crs is None or self.transform is None:
            return None
        height, width = self.grid_hw
        return GridMeta(crs=self.crs, transform=self.transform, height=height, width=width)

    def without_timing(self) -> Self:
        """The same without how it went this time: equal for equal requests."""
        further = {name: meta.without_timing() for name, meta in self.auxiliary.items()}
        return super().without_timing().model_copy(update={"timing_ms": {}, "auxiliary": further})


class ClassificationMeta(_Meta):
    """How a classification came about."""

    model: str
    """Id of the model."""
    tag: str
    """Name and version of its weights in the model store."""
    variant: str
    """Variant of the weights."""
    weights: str
    """Sha256 of the weights, or `dummy`: random numbers in place of trained weights."""
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
        data: The array; rows of a grid run from north to south. Cells that a finished product has
            no data for are NaN.
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
            MissingExtra: xarray or rasterio is not installed.
        """
        return export.to_xarray(
            self.data, self._require_grid(), self.meta.model, self.meta.model_dump_json()
        )

    def to_geotiff(self, path: str | Path) -> None:
        """Write a grid as a GeoTIFF, one band for every component of the vectors.

        Raises:
            SpecError: The embedding is a vector.
            MissingExtra: rasterio is not installed.
        """
        export.to_geotiff(self.data, self._require_grid(), self.meta.model_dump_json(), path)

    def _require_grid(self) -> GridMeta:
        grid = self.meta.grid
        if grid is None and self.data.ndim == 3:
            raise SpecError(
                "these pixels came without crs and transform, so their grid lies nowhere; give "
                "both for one that can be put on a map",
                field="crs",
            )
        if grid is None or self.data.ndim != 3:
            raise SpecError(
                "this embedding is a vector and lies nowhere; ask with output=OutputSpec.grid() "
                "for one that can be put on a map",
                field="output",
            )
        return grid


@dataclass(frozen=True)
class Classification:
    """Which of the given classes a picture shows.

    Attributes:
        probabilities: ``(K,)`` float32 in the order of the request's classes; sum 1.
        meta: How they came about.
    """

    probabilities: NDArray[np.float32]
    meta: ClassificationMeta
