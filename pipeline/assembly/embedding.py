"""From what a runner gives back to an embedding with its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import ServedModel
from geobento.schemas.embedding import (
    Embedding,
    EmbeddingMeta,
    ImageryMeta,
    SceneMeta,
    TextMeta,
    TilesMeta,
    TimeRange,
)
from geobento.schemas.errors import GeoBentoError, ModelError, error_from_body
from geobento.schemas.geometry import Area
from geobento.schemas.grid import GridMeta
from geobento.schemas.sample import PixelGrid, Sample, Scene
from imagery import cell_fractions
from imagery.grid import lonlat_corners
from imagery.query import ImageQuery
from inference.types import EncodeResult, Pooling
from pipeline.assembly import stitching
from pipeline.planning.temporal import frames_meta
from pipeline.planning.tiling import Tiling


@dataclass(frozen=True)
class ResponseContext:
    """What an answer tells besides its numbers.

    Attributes:
        served: The model.
        modality: What it read.
        pooling: How the vector comes about; None: a grid.
        normalize: Whether to scale to unit length.
        precision: Number format of the forward pass.
        query: What was fetched; None for an image and for own data.
        sample: The imagery without its pixels; None for an image.
        config: Options of the model that the request set.
        text: How a text was read; None for other inputs.
        tiling: How a region was cut; None: the model got it whole.
        area: Where vectors of a region count when they become one; None: everywhere.
        auxiliary: What was fetched of further modalities.
        warnings: What is odd about the imagery.
        timing_ms: How long the steps before the forward took.
    """

    served: ServedModel
    modality: str
    pooling: Pooling | None
    normalize: bool
    precision: str
    query: ImageQuery | None = None
    sample: Sample | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    text: TextMeta | None = None
    tiling: Tiling | None = None
    area: Area | None = None
    auxiliary: Sequence[ImageQuery] = ()
    warnings: Sequence[str] = ()
    timing_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def pixel_grid(self) -> PixelGrid | None:
        """Where the pixels lie, as far as that is known."""
        if self.query is not None:
            return self.query.grid
        return None if self.sample is None else self.sample.grid


def build_embedding(
    results: Sequence[EncodeResult],
    context: ResponseContext,
    timing_ms: Mapping[str, float] | None = None,
) -> Embedding | GeoBentoError:
    """The answer for one image, text or region, from the results of its items."""
    for result in results:
        if result.error is not None:
            return error_from_body({"error": result.error["error"]})
    arrays = [np.asarray(result.data, dtype=np.float32) for result in results]
    try:
        data, cells = _assemble(arrays, results[0].pixel_margin, context)
    except GeoBentoError as error:
        return error
    if context.normalize:
        unit = _unit_vector(data)
        if unit is None:
            return ModelError(
                "the vector of this input is zero and cannot be scaled to unit length; "
                "ask with normalize: false",
                field="normalize",
            )
        data = unit
    meta = _build_meta(data, cells, results[0].num_prefix_tokens, context, timing_ms or {})
    return Embedding(data, meta)


def _assemble(
    arrays: list[NDArray[np.float32]], margin: float, context: ResponseContext
) -> tuple[NDArray[np.float32], PixelGrid | None]:
    """One vector, or one grid and where its cells lie."""
    pixels, tiles, pooling = context.pixel_grid, context.tiling, context.pooling
    if arrays[0].ndim == 1:
        if tiles is None or pooling is None:
            return arrays[0], None
        return stitching.pool_tiles(arrays, tiles, _cell_pooling(pooling)), None
    height, width = arrays[0].shape[-2:]
    data = arrays[0] if tiles is None else stitching.stitch_tiles(arrays, tiles, margin)
    if pixels is None:
        cells = None
    elif tiles is None:
        cells = pixels.cells(height, width, margin)
    else:
        cells = stitching.stitched_grid(pixels, tiles, height, width, margin)
    if pooling is None:
        return data, cells
    area = context.area
    weights = None if area is None or cells is None else cell_fractions.area_weights(area, cells)
    return stitching.pool_cells(data, _cell_pooling(pooling), weights), None


def _cell_pooling(pooling: Pooling) -> Literal["mean", "max"]:
    """The mean stands in for what authors do with a whole input."""
    return "max" if pooling == "max" else "mean"


def class_probabilities(
    image: NDArray[np.float32], classes: NDArray[np.float32], logit_scale: float
) -> NDArray[np.float32] | GeoBentoError:
    """The softmax of the scaled cosines between an image and every class.

    Args:
        image: Vector (D,).
        classes: Vectors (K, D) of unit length.
        logit_scale: Factor on the cosines.

    Returns:
        (K,) with sum 1.
    """
    unit = _unit_vector(image)
    if unit is None:
        return ModelError("the vector of this image is zero and fits no class")
    logits = logit_scale * (classes @ unit).astype(np.float64)
    shares = np.exp(logits - logits.max())
    scaled: NDArray[np.float32] = (shares / shares.sum()).astype(np.float32)
    return scaled


def _unit_vector(vector: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """A vector or grid scaled to unit length; None where it is zero."""
    length = float(np.linalg.norm(vector))
    return None if length == 0 else vector / np.float32(length)


def _build_meta(
    data: NDArray[np.float32],
    cells: PixelGrid | None,
    prefix: int,
    context: ResponseContext,
    timing_ms: Mapping[str, float],
) -> EmbeddingMeta:
    served, tiles = context.served, context.tiling
    return EmbeddingMeta(
        model=served.card.id,
        type=served.card.kind,
        variant=served.variant,
        tag=served.tag,
        weights=weights_label(served),
        preprocessing=served.preprocessing,
        precision=context.precision,
        config=dict(context.config),
        dim=len(data),
        pooling=context.pooling or "grid",
        normalized=context.normalize,
        cls_removed=prefix > 0 and context.pooling not in ("native", "cls"),
        grid_hw=(data.shape[1], data.shape[2]) if data.ndim == 3 else None,
        modality=context.modality,
        image_size=_image_size(context),
        input_prep=None if context.sample is None else "resize" if tiles is None else "tile",
        tiles=None if tiles is None else tiles_meta(tiles),
        text=context.text,
        auxiliary={
            query.modality: ImageryMeta(
                **imagery_meta_fields(query, context.sample.extras[query.modality], (), query.grid)
            )
            for query in context.auxiliary
            if context.sample is not None
        },
        timing_ms={name: round(ms, 1) for name, ms in {**context.timing_ms, **timing_ms}.items()},
        **_response_imagery(cells, context),
    )


def weights_label(served: ServedModel) -> str:
    """What answers say of the weights."""
    return "dummy" if served.weights == "dummy" else served.sha256


def _image_size(context: ResponseContext) -> tuple[int, int] | None:
    card = context.served.card
    if context.text is not None:
        return None
    if context.sample is None:
        image = card.image
        side = None if image is None else image.crop or image.size
        return None if side is None else (side, side)
    side = card.modalities[context.modality].size
    if side is not None:
        return side, side
    if context.tiling is not None:
        return context.tiling.size, context.tiling.size
    height, width = context.sample.pixels.shape[-2:]
    return height, width


def _response_imagery(cells: PixelGrid | None, context: ResponseContext) -> dict[str, Any]:
    """What is told of imagery; nothing for images and texts."""
    sample = context.sample
    if sample is None or sample.provenance is None:
        return {}
    lies = context.pixel_grid if cells is None else cells
    return imagery_meta_fields(context.query, sample, context.warnings, lies)


def imagery_meta_fields(
    query: ImageQuery | None, sample: Sample, warnings: Sequence[str], output_grid: PixelGrid | None
) -> dict[str, Any]:
    """The fields of `ImageryMeta`.

    Args:
        query: What was fetched; None for own data.
        sample: What came, with its provenance.
        warnings: What is odd about it.
        output_grid: Where the data of the answer lie, as far as that is known.
    """
    origin = sample.provenance
    assert origin is not None
    pixels = sample.grid if query is None else query.grid
    return {
        "backend": origin.backend,
        "source": origin.source,
        "notice": origin.notice,
        "sensor": None if query is None else query.sensor,
        "temporal": None if query is None else time_range(query.start, query.end),
        "frames": frames_meta(query, sample),
        "scenes": scenes_meta(origin.scenes),
        "offset_applied": None
        if query is None
        else any(scene.offset_applied for scene in origin.scenes),
        "cached": sample.cached,
        "valid_fraction": 1.0 if sample.valid is None else round(float(sample.valid.mean()), 6),
        "warnings": list(warnings),
        "crs": None if output_grid is None else output_grid.crs,
        "transform": None if output_grid is None else output_grid.transform,
        "footprint": None if pixels is None else _footprint(pixels),
        "pixels": None if pixels is None else grid_meta(pixels),
    }


def _footprint(grid: PixelGrid) -> list[tuple[float, float]] | None:
    """The corners of a grid; None where one lies beyond the edge of the world."""
    corners = lonlat_corners(grid)
    return corners if np.isfinite(corners).all() else None


def grid_meta(grid: PixelGrid) -> GridMeta:
    """A pixel grid as it stands in an answer."""
    return GridMeta(crs=grid.crs, transform=grid.transform, height=grid.height, width=grid.width)


def tiles_meta(tiles: Tiling) -> TilesMeta:
    """Tiles as they stand in an answer."""
    return TilesMeta(size=tiles.size, rows=list(tiles.rows), columns=list(tiles.columns))


def scenes_meta(scenes: Sequence[Scene]) -> list[SceneMeta]:
    """Scenes as they stand in an answer."""
    return [
        SceneMeta(
            id=scene.id,
            time=format_utc(scene.time),
            cloud_pct=scene.cloud_pct,
            processing=scene.processing,
            offset_applied=scene.offset_applied,
        )
        for scene in scenes
    ]


def time_range(start: datetime, end: datetime) -> TimeRange:
    """A window of time as it stands in an answer."""
    return TimeRange(start=format_utc(start), end=format_utc(end))


def format_utc(time: datetime) -> str:
    """A time in UTC as it stands in an answer."""
    return time.isoformat().replace("+00:00", "Z")
