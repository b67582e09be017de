"""Builds embeddings with their metadata from the results of the encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geobento.schemas.cards import ServedModel
from geobento.schemas.embedding import (
    Embedding,
    EmbeddingMeta,
    ImageryMeta,
    TextMeta,
)
from geobento.schemas.errors import GeoBentoError, ModelError, error_from_body
from geobento.schemas.geometry import Area
from geobento.schemas.sample import PixelGrid, Sample
from imagery import cell_fractions
from imagery.query import ImageQuery
from inference.types import EncodeResult, Pooling
from pipeline.assembly import stitching
from pipeline.assembly.metadata import imagery_meta_fields, tiles_meta
from pipeline.planning.tiling import Tiling


@dataclass(frozen=True)
class ResponseContext:
    """What a response says besides its numbers.

    Attributes:
        served: The model.
        modality: The modality that it read.
        pooling: How the vector is pooled; None: the response is a grid.
        normalize: Whether to scale to unit length.
        precision: Precision of the forward pass.
        query: The fetch; None for images and user-supplied pixels.
        sample: The imagery without its pixels; None for images.
        config: Options of the model that the request set.
        text: Tokens of a text; None for other inputs.
        tiling: Tiles of the region; None: the model got it whole.
        area: Polygon whose cells are pooled into one vector; None: all cells.
        auxiliary: Fetches of auxiliary modalities.
        warnings: Warnings about the imagery.
        timing_ms: Times of the steps before the forward pass, milliseconds.
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
        """Grid of the pixels; None where it is not known."""
        if self.query is not None:
            return self.query.grid
        return None if self.sample is None else self.sample.grid


def build_embedding(
    results: Sequence[EncodeResult],
    context: ResponseContext,
    timing_ms: Mapping[str, float] | None = None,
) -> Embedding | GeoBentoError:
    """Build the embedding of one image, text or region from the results of its items.

    Args:
        results: Results of the encoder: one, or one per tile, row by row.
        context: Metadata of the response.
        timing_ms: Times of further steps, milliseconds.
    """
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
                "set normalize: false",
                field="normalize",
            )
        data = unit
    meta = _build_meta(data, cells, results[0].num_prefix_tokens, context, timing_ms or {})
    return Embedding(data, meta)


def _assemble(
    arrays: list[NDArray[np.float32]], margin: float, context: ResponseContext
) -> tuple[NDArray[np.float32], PixelGrid | None]:
    """The vector (D,) and None, or the grid (D, H, W) and the grid of its cells."""
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
    """Pooling of cells; `native` is defined for whole inputs alone and becomes the mean."""
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
        return ModelError("the vector of this image is zero and has no cosine to any class")
    logits = logit_scale * (classes @ unit).astype(np.float64)
    exponentials = np.exp(logits - logits.max())
    probabilities: NDArray[np.float32] = (exponentials / exponentials.sum()).astype(np.float32)
    return probabilities


def _unit_vector(vector: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The vector or grid scaled to unit length; None if it is zero."""
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
    """SHA-256 of the weights, or `dummy`."""
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
    """Imagery fields of the metadata; none for images and texts."""
    sample = context.sample
    if sample is None or sample.provenance is None:
        return {}
    output_grid = context.pixel_grid if cells is None else cells
    return imagery_meta_fields(context.query, sample, context.warnings, output_grid)
