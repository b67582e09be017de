"""From a card and a request to a plan. Pure: every contract error is raised here."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import cast

from geobento import modalities
from geobento.cards import ModelCard
from geobento.errors import ModelError, PayloadTooLarge, SpecError
from geobento.options import check_options
from geobento.places import Area, MultiPolygon, Polygon
from geobento.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from geobento.sample import PixelGrid
from geobento.specs import InputPrepSpec, OutputGrid, Place, SensorSpec
from imagery import collections, grid
from imagery.collections import Collection
from imagery.source import ImageQuery
from models import bands
from models.pooling import Pooling
from pipeline import tiling
from pipeline.tiling import Tiling

_RADAR = {"orbit": None, "s1_require_iw": True, "s1_relax_iw_on_empty": True}
"""Fields of SensorSpec that take another value only for Sentinel-1."""

OVERLAP = 4
"""The tiles of a place have at most this many times the pixels that a place may have."""

ANY_TIME = datetime(1972, 1, 1, tzinfo=UTC), datetime(2201, 1, 1, tzinfo=UTC)
"""Window of a request without one for imagery that is the same at all times."""


@dataclass(frozen=True)
class GeoPlan:
    """One place of a request, resolved.

    Attributes:
        query: What to fetch.
        backend: ``gee``, ``stac``, ``demo`` or ``auto``.
        pooling: How to make one vector; None: the grid.
        tiling: How the place is cut; None: the model gets it whole.
        area: Where vectors count when they become one; None: everywhere.
        encoding: What the model is asked for, of every tile; None: the grid.
    """

    query: ImageQuery
    backend: str
    pooling: Pooling | None
    tiling: Tiling | None = None
    area: Area | None = None
    encoding: Pooling | None = None


@dataclass(frozen=True)
class Limits:
    """Bounds that the service sets.

    Attributes:
        max_place_pixels: Most pixels of a place.
        may_save: Whether pictures may be written to folders that requests name.
    """

    max_place_pixels: int
    may_save: bool = False


def check_image_request(card: ModelCard, request: ImageEmbeddingRequest | ZeroShotRequest) -> None:
    """Check what can be checked before a picture is decoded.

    Raises:
        ModelError: The model reads no pictures, or a key of `config` is not its own.
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
    card: ModelCard, request: GeoEmbeddingRequest, *, served: tuple[str, ...], limits: Limits
) -> list[GeoPlan]:
    """One plan for each place of the request.

    Args:
        card: The model's card.
        request: The request.
        served: Inputs that the served weights read.
        limits: Bounds of the service.

    Raises:
        ModelError: The model does not offer what is asked.
        SpecError: A place cannot be put on a pixel grid.
        PayloadTooLarge: A place has more pixels than allowed.
    """
    modality = _modality(card, request, served)
    sensor = _sensor(card, modality, request)
    _check_saving(sensor, limits)
    check_options(card, request.config, "model_config")
    _check_form(card, request)
    collection = collections.get(sensor.collection)
    start, end = _window(card, collection, request)
    plans = []
    for position, place in enumerate(request.places):
        field = "spatial" if request.spatial is not None else f"spatials.{position}"
        pixel_grid = _grid(place, sensor.scale_m, collection.lattice_m, field)
        _check_pixels(card, modality, pixel_grid.shape, limits, field)
        query = ImageQuery(sensor, pixel_grid, start, end, modality)
        pooling = None if isinstance(request.output, OutputGrid) else request.output.pooling
        tiles = _tiling(card, modality, request, pixel_grid, limits)
        area = place if isinstance(place, Polygon | MultiPolygon) and pooling else None
        has_grid = "grid" in card.outputs
        of_cells = has_grid and (pooling != "authors" or card.feature == "mean")
        if area is not None and not of_cells:
            raise ModelError(
                f"the vector of {card.id} is of all that it sees and cannot leave out what lies "
                "outside of a polygon; accepted: PointBuffer, BBox"
                + (", or output.pooling 'mean' or 'max'" if has_grid else ""),
                field=field,
            )
        # One vector of all cells that count is the same however the place was cut.
        pooled_later = (tiles or area) and of_cells
        encoding = None if pooled_later else pooling
        plans.append(GeoPlan(query, request.backend, pooling, tiles, area, encoding))
    return plans


def _modality(card: ModelCard, request: GeoEmbeddingRequest, served: tuple[str, ...]) -> str:
    offered = [name for name in card.modalities if name in served]
    if not offered:
        raise ModelError(f"{card.id} reads pictures only; use /image_embedding", field="model")
    named = {
        field: _offered(card, name, offered, field)
        for field, name in (
            ("modality", request.modality),
            ("sensor.modality", request.sensor.modality if request.sensor is not None else None),
        )
        if name is not None
    }
    if len(set(named.values())) > 1:
        raise ModelError(
            f"modality is {request.modality!r} but sensor.modality says otherwise; "
            "give one of the two",
            field="sensor.modality",
        )
    return next(iter(named.values()), card.default_modality or offered[0])


def _offered(card: ModelCard, name: str, offered: list[str], field: str) -> str:
    found = modalities.find(name, offered)
    if found is None:
        raise ModelError(
            f"{card.id} does not read modality {name!r}; accepted: {', '.join(offered)}",
            field=field,
        )
    return found


def _sensor(card: ModelCard, modality: str, request: GeoEmbeddingRequest) -> SensorSpec:
    if request.sensor is not None and request.fetch is not None:
        raise ModelError(
            "sensor replaces the model's sensor, fetch changes it: give one of the two",
            field="fetch",
        )
    default = card.modalities[modality].sensor
    sensor = request.sensor or default
    if request.fetch is not None:
        given = {f.name: getattr(request.fetch, f.name) for f in fields(request.fetch)}
        sensor = replace(sensor, **{k: v for k, v in given.items() if v is not None})
    if not sensor.use_float_linear:
        raise ModelError(
            "decibels are those of the collection COPERNICUS/S1_GRD, as its name says; "
            "accepted: true",
            field="sensor.use_float_linear",
        )
    radar = collections.get(sensor.collection).gee.radar
    for name, only in _RADAR.items():
        if not radar and getattr(sensor, name) != only:
            raise ModelError(
                f"sensor.{name} is for Sentinel-1; {sensor.collection} accepts {only!r} alone",
                field=f"sensor.{name}",
            )
    bands.check(card, modality, sensor.bands, request.config)
    return sensor


def _check_saving(sensor: SensorSpec, limits: Limits) -> None:
    if sensor.check_save_dir is None:
        return
    if not limits.may_save:
        raise SpecError(
            "a server writes no pictures into folders; accepted: null. It works in Python, without "
            "GEOBENTO_URL",
            field="sensor.check_save_dir",
        )
    if not sensor.check_input:
        raise SpecError("check_save_dir needs check_input: true", field="sensor.check_save_dir")


def _check_form(card: ModelCard, request: GeoEmbeddingRequest) -> None:
    if request.output.mode not in card.outputs:
        raise ModelError(
            f"{card.id} does not answer with {request.output.mode!r}; "
            f"accepted: {', '.join(card.outputs)}",
            field="output.mode",
        )


def _tiling(
    card: ModelCard,
    modality: str,
    request: GeoEmbeddingRequest,
    pixel_grid: PixelGrid,
    limits: Limits,
) -> Tiling | None:
    prep = cast("InputPrepSpec", request.input_prep)
    size = card.modalities[modality].size
    tiles = tiling.decide(prep, pixel_grid.shape, size, card.id)
    if tiles is not None and (pixels := len(tiles) * tiles.size**2) > OVERLAP * (
        limit := limits.max_place_pixels
    ):
        raise PayloadTooLarge(
            f"the tiles of the place have {pixels:,} pixels together; accepted: up to "
            f"{OVERLAP * limit:,}. Take a larger tile_stride or a smaller place",
            field="input_prep",
            detail={"pixels": pixels, "limit": OVERLAP * limit},
        )
    return tiles


def _window(
    card: ModelCard, collection: Collection, request: GeoEmbeddingRequest
) -> tuple[datetime, datetime]:
    temporal = request.temporal or card.default_temporal
    if temporal is None and collection.static:
        return ANY_TIME
    if temporal is None:
        raise ModelError(
            f"{card.id} needs a time window: "
            '{"mode": "range", "start": "2023-06-01", "end": "2023-07-01"} or '
            '{"mode": "year", "year": 2023}',
            field="temporal",
        )
    return temporal.window


def _grid(place: Place, scale_m: float, lattice_m: float | None, field: str) -> PixelGrid:
    try:
        return grid.for_place(place, scale_m, lattice_m)
    except SpecError as error:
        error.field = field + (error.field or "").removeprefix("spatial")
        raise


def _check_pixels(
    card: ModelCard, modality: str, shape: tuple[int, int], limits: Limits, field: str
) -> None:
    height, width = shape
    if height * width > limits.max_place_pixels:
        raise PayloadTooLarge(
            f"the place has {height * width:,} pixels; accepted: up to "
            f"{limits.max_place_pixels:,}. Take a smaller place or a larger scale_m",
            field=field,
            detail={"pixels": height * width, "limit": limits.max_place_pixels},
        )
    least = card.modalities[modality].min_pixels
    if min(shape) < least:
        raise ModelError(
            f"the place has {height} x {width} pixels, {card.id} needs at least "
            f"{least} x {least}; take a larger place or a smaller scale_m",
            field=field,
        )
