"""Results: embeddings and classifications with their metadata."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from geobento.schemas import export
from geobento.schemas.errors import SpecError
from geobento.schemas.grid import GridMeta, Transform
from geobento.schemas.records import Record
from geobento.schemas.specs import SensorSpec

if TYPE_CHECKING:
    import xarray


class SceneMeta(Record):
    """One scene that the pixels were made from."""

    id: str
    """Id in its catalog."""
    time: str
    """Time of acquisition, ISO 8601, UTC."""
    cloud_pct: float | None
    """Cloud cover of the whole scene, percent, from its catalog."""
    processing: str | None = None
    """Processing baseline from its catalog, such as `05.09`; null: unknown."""
    offset_applied: bool = False
    """Whether the offset of newer processing baselines was subtracted, by the source or by this
    service."""


class TimeRange(Record):
    """A half-open time window."""

    start: str
    """Start, inclusive, ISO 8601, UTC."""
    end: str
    """End, exclusive, ISO 8601, UTC."""


class TilesMeta(Record):
    """The tiles in which the model read a region."""

    size: int
    """Side of a tile, pixels."""
    rows: list[int]
    """First pixel row of every row of tiles."""
    columns: list[int]
    """First pixel column of every column of tiles."""


class FramesMeta(Record):
    """The frames of a time series."""

    requested: int
    """Number of frames requested."""
    distinct: int
    """Number of frames with a usable pixel; the model read these."""
    filled: int = 0
    """Number of frames repeated in place of missing ones."""
    dropped: list[int]
    """Indices of the requested frames, from 0, that were left out."""
    times: list[str]
    """Time of every frame, halfway between its first and last scene, ISO 8601, UTC."""


class TextMeta(Record):
    """How a text was read."""

    tokens: int
    """Number of tokens that the model read, including begin and end."""
    truncated: bool
    """Whether the text was truncated."""


class ComputedMeta(Record):
    """The model, its weights and settings, and the shape of the result."""

    model: str
    """Id of the model."""
    type: str
    """`on_the_fly`: computed for the request. `precomputed`: read from a published
    dataset of embeddings."""
    variant: str
    """Variant of the weights."""
    tag: str
    """Name and version of the weights in the model store."""
    weights: str
    """SHA-256 of the weights, or `dummy`: random weights, for tests."""
    preprocessing: str
    """Digest of the preprocessing settings; vectors can be compared only if it is equal."""
    precision: str
    """Precision of the forward pass."""
    config: dict[str, Any] = {}
    """Options of the model that the request set."""

    dim: int
    """Length D of the vectors."""
    pooling: str
    """How tokens became a vector; `grid` for a grid of vectors."""
    normalized: bool
    """Whether the vector has unit length."""
    cls_removed: bool
    """Whether the network has prefix tokens, such as a class token, that are not in the result."""
    grid_hw: tuple[int, int] | None = None
    """Rows and columns of a grid of vectors."""

    modality: str
    """Modality of the input."""
    image_size: tuple[int, int] | None = None
    """Height and width of the network's input, pixels; null: those of the pixels."""
    input_prep: str | None = None
    """`resize`: the region was resized to the network's input. `tile`: it was cut into tiles."""
    tiles: TilesMeta | None = None
    """The tiles in which the model read the region."""
    text: TextMeta | None = None
    """How a text was read."""


class ImageryMeta(Record):
    """The imagery. Null: not applicable, or unknown for user-supplied pixels."""

    backend: str | None = None
    """Kind of the source: `gee`, `stac` or `demo`; `user`: the request brought the pixels."""
    source: str | None = None
    """The catalog or project; for user-supplied pixels the kind of file."""
    notice: str | None = None
    """Notice that must accompany this imagery."""
    sensor: SensorSpec | None = None
    """Collection, bands, scale, cloud filter and composite that were used."""
    temporal: TimeRange | None = None
    """Time window of the scenes."""
    frames: FramesMeta | None = None
    """Frames of a time series; null: one composite of the whole window."""
    scenes: list[SceneMeta] | None = None
    """Scenes of the composite, oldest first; for user-supplied pixels the times that were given."""
    offset_applied: bool | None = None
    """Whether the offset of newer processing baselines was subtracted for any scene."""
    cached: bool | None = None
    """Whether the pixels came from the cache; null: there is no cache."""
    valid_fraction: float | None = None
    """Fraction of pixels with data from any scene, 0 to 1; the others have the fill value."""
    warnings: list[str] = []
    """Warnings about the pixels, if the request asked for checks or brought the pixels."""
    crs: str | None = None
    """Coordinate reference system of the grid of vectors or, for a vector, of the pixels."""
    transform: Transform | None = None
    """Affine transform (a, b, c, d, e, f) of the same: x = a col + b row + c,
    y = d col + e row + f, at outer corners of cells."""
    footprint: list[tuple[float, float]] | None = None
    """Corners of the pixels in longitude and latitude, a closed ring."""
    pixels: GridMeta | None = None
    """Grid of the pixels."""

    def without_timing(self) -> Self:
        """A copy without timing and cache state; equal for equal requests."""
        return self.model_copy(update={"cached": None})


class EmbeddingMeta(ImageryMeta, ComputedMeta):
    """Metadata of an embedding. Fields that do not apply are null."""

    auxiliary: dict[str, ImageryMeta] = {}
    """Imagery of auxiliary modalities, by modality."""
    timing_ms: dict[str, float] = {}
    """Duration of the steps, milliseconds: `fetch` (from the source or, if `cached`, from disk),
    `prepare`, `encode` (with the wait for a batch)."""

    @property
    def grid(self) -> GridMeta | None:
        """Grid of the cells of a grid of vectors; None for a vector, or without georeference."""
        if self.grid_hw is None or self.crs is None or self.transform is None:
            return None
        height, width = self.grid_hw
        return GridMeta(crs=self.crs, transform=self.transform, height=height, width=width)

    def without_timing(self) -> Self:
        """A copy without timing and cache state; equal for equal requests."""
        auxiliary = {name: meta.without_timing() for name, meta in self.auxiliary.items()}
        return super().without_timing().model_copy(update={"timing_ms": {}, "auxiliary": auxiliary})


class ClassificationMeta(Record):
    """Metadata of a classification."""

    model: str
    """Id of the model."""
    tag: str
    """Name and version of its weights in the model store."""
    variant: str
    """Variant of the weights."""
    weights: str
    """SHA-256 of the weights, or `dummy`: random weights, for tests."""
    logit_scale: float
    """Learned factor of the cosine similarities before the softmax."""
    template: str
    """Prompt template of the classes."""
    precision: str
    """Precision of the forward pass."""
    preprocessing: str
    """Digest of the preprocessing settings."""
    config: dict[str, Any] = {}
    """Options of the model that the request set."""


@dataclass(frozen=True)
class Embedding:
    """A vector ``(D,)`` or a grid of vectors ``(D, H, W)``, float32.

    Attributes:
        data: The array; rows of a grid run from north to south. Cells without data of a
            precomputed model are NaN.
        meta: Its metadata.
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
        """Write a grid as a GeoTIFF, one band per component of the vectors.

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
    """Zero-shot classification of an image.

    Attributes:
        probabilities: ``(K,)`` float32 in the order of the request's classes; sum 1.
        meta: Their metadata.
    """

    probabilities: NDArray[np.float32]
    meta: ClassificationMeta
