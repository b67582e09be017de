"""Plans the regions of a request and checks it against the model's card. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import GeoBentoError, ModelError, PayloadTooLarge, SpecError
from geobento.schemas.geometry import Area, MultiPolygon, Polygon
from geobento.schemas.options import check_options
from geobento.schemas.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from geobento.schemas.specs import InputPrep, InputPrepSpec, Output, OutputGrid, Region, SensorSpec
from imagery.query import ImageQuery
from inference.types import Pooling
from models.preprocessing import bands
from pipeline.planning import tiling
from pipeline.planning.imagery import ImageryPlan, plan_imagery, with_frames_and_auxiliary
from pipeline.planning.limits import (
    MAX_OVERLAP_FACTOR,
    Limits,
    check_min_size,
    check_total_pixels,
    limits_for_model,
)
from pipeline.planning.tiling import Tiling


@dataclass(frozen=True)
class GeoPlan:
    """The plan of one region.

    Attributes:
        query: What to fetch.
        backend: ``gee``, ``stac``, ``demo`` or ``auto``.
        pooling: How to make one vector; None: the grid.
        tiling: How the region is cut; None: the model gets it whole.
        area: Where vectors count when they become one; None: everywhere.
        encode_pooling: Pooling by the encoder, per tile; None: a grid.
        auxiliary: What to fetch of auxiliary modalities, on the same pixels.
    """

    query: ImageQuery
    backend: str
    pooling: Pooling | None
    tiling: Tiling | None = None
    area: Area | None = None
    encode_pooling: Pooling | None = None
    auxiliary: tuple[ImageQuery, ...] = ()

    @property
    def fetch_requests(self) -> list[tuple[str, ImageQuery]]:
        """All that is fetched, as (backend, query), the modality itself first."""
        return [(self.backend, query) for query in (self.query, *self.auxiliary)]


def check_image_request(card: ModelCard, request: ImageEmbeddingRequest | ZeroShotRequest) -> None:
    """Check what can be checked before an image is decoded.

    Raises:
        ModelError: The model reads no images, or a key of `config` is not its own.
    """
    if card.image is None:
        raise ModelError(
            f"{card.id} reads satellite imagery only; use /geo_embedding", field="model"
        )
    check_options(card, request.config, "config")


def check_text_request(card: ModelCard, request: TextEmbeddingRequest | ZeroShotRequest) -> None:
    """Check what can be checked before a text is read.

    Raises:
        ModelError: The model reads no texts, or a key of `config` is not its own.
    """
    if card.text is None:
        raise ModelError(f"{card.id} reads no texts", field="model")
    check_options(card, request.config, "config")


def plan_geo(
    card: ModelCard,
    request: GeoEmbeddingRequest,
    *,
    served_modalities: tuple[str, ...],
    limits: Limits,
) -> tuple[ImageryPlan, list[GeoPlan | GeoBentoError]]:
    """Plan the imagery of a request and each of its regions.

    Errors of a region are a ModelError where the model does not do it, a SpecError where it cannot
    be put on a pixel grid or cut into tiles, and PayloadTooLarge where it has too many pixels.

    Args:
        card: The model's card.
        request: The request.
        served_modalities: Inputs that the served weights read.
        limits: Bounds of the service.

    Raises:
        ModelError: The model does not support the request.
        SpecError: The request names a folder, and saving is not allowed.
    """
    imagery = plan_imagery(card, request, served_modalities)
    bands.check_bands(card, imagery.modality, imagery.sensor.bands, request.config)
    _check_save_dir(imagery.sensor, limits)
    check_options(card, request.config, "model_config")
    imagery = with_frames_and_auxiliary(card, imagery, request)
    check_output(card, request.output)
    plans: list[GeoPlan | GeoBentoError] = []
    for position, region in enumerate(request.regions):
        field = "spatial" if request.spatial is not None else f"spatials.{position}"
        try:
            plans.append(_plan_region(card, request, region, imagery, limits, field))
        except GeoBentoError as error:
            plans.append(error)
    return imagery, plans


def _plan_region(
    card: ModelCard,
    request: GeoEmbeddingRequest,
    region: Region,
    imagery: ImageryPlan,
    limits: Limits,
    field: str,
) -> GeoPlan:
    query = imagery.region_query(region, limits_for_model(card, imagery.modality, limits), field)
    check_min_size(card, query.modality, query.grid.shape, field)
    check_total_pixels(query, limits, field)
    pooling = None if isinstance(request.output, OutputGrid) else request.output.pooling
    tiles = plan_tiling(card, query.modality, request.input_prep, query.grid.shape, limits)
    area = region if isinstance(region, Polygon | MultiPolygon) and pooling else None
    if area is not None and not pools_cells(card, pooling):
        raise ModelError(
            f"the vector of {card.id} is of all that it sees and cannot leave out what lies "
            "outside of a polygon; accepted: PointBuffer, BBox"
            + (", or output.pooling 'mean' or 'max'" if "grid" in card.outputs else ""),
            field=field,
        )
    encode_pooling = None if (tiles or area) and pools_cells(card, pooling) else pooling
    auxiliary = tuple(one.aligned_query(query) for one in imagery.auxiliary)
    for other in auxiliary:
        check_total_pixels(other, limits, field)
    return GeoPlan(query, request.backend, pooling, tiles, area, encode_pooling, auxiliary)


def is_unit_length(card: ModelCard, modality: str, pooling: Pooling | None) -> bool:
    """Whether the vector of a region is scaled to unit length."""
    return pooling == "native" and card.modalities[modality].normalize


def pools_cells(card: ModelCard, pooling: Pooling | None) -> bool:
    """Whether the pooled vector is computed from the grid of vectors.

    One vector of all cells that count is the same however the region was cut.
    """
    of_tokens = pooling == "cls" or (pooling == "native" and card.feature != "mean")
    return "grid" in card.outputs and not of_tokens


def _check_save_dir(sensor: SensorSpec, limits: Limits) -> None:
    if sensor.check_save_dir is None:
        return
    if not limits.allow_saving:
        raise SpecError(
            "a server writes no images into folders; accepted: null. It works in Python, without "
            "GEOBENTO_URL",
            field="sensor.check_save_dir",
        )
    if not sensor.check_input:
        raise SpecError("check_save_dir needs check_input: true", field="sensor.check_save_dir")


def check_output(card: ModelCard, output: Output) -> None:
    """Check that the model gives this form of answer.

    Raises:
        ModelError: It does not.
    """
    if output.mode not in card.outputs:
        raise ModelError(
            f"{card.id} does not answer with {output.mode!r}; accepted: {', '.join(card.outputs)}",
            field="output.mode",
        )
    if output.mode == "pooled" and output.pooling == "cls" and not card.class_token:
        raise ModelError(
            f"{card.id} has no class token; accepted: native, mean, max", field="output.pooling"
        )


def plan_tiling(
    card: ModelCard, modality: str, prep: InputPrep, shape: tuple[int, int], limits: Limits
) -> Tiling | None:
    """The tiles that pixels are cut into; None: the model gets them whole.

    Raises:
        ModelError: The model has no input size, and the request names no tile size.
        SpecError: The tiles leave gaps, are too many or too large.
        PayloadTooLarge: The tiles have too many pixels together.
    """
    spec = card.modalities[modality]
    tiles = tiling.choose_tiling(
        cast("InputPrepSpec", prep), shape, spec.tile or spec.size, card.id
    )
    if tiles is not None and (pixels := len(tiles) * tiles.size**2) > MAX_OVERLAP_FACTOR * (
        limit := limits.max_region_pixels
    ):
        raise PayloadTooLarge(
            f"the tiles of the region have {pixels:,} pixels together; accepted: up to "
            f"{MAX_OVERLAP_FACTOR * limit:,}. Take a larger tile_stride or a smaller region",
            field="input_prep",
            detail={"pixels": pixels, "limit": MAX_OVERLAP_FACTOR * limit},
        )
    return tiles
