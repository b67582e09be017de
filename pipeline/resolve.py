"""From a card and a request to a plan. Pure: every contract error is raised here."""

from __future__ import annotations

from collections.abc import Mapping
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
from geobento.specs import InputPrep, InputPrepSpec, Output, OutputGrid, Place, SensorSpec
from imagery import collections, grid
from imagery.collections import Collection
from imagery.source import ImageQuery
from models.pooling import Pooling
from pipeline import tiling
from pipeline.tiling import Tiling

_PLANNED = {
    "orbit": None,
    "use_float_linear": True,
    "s1_require_iw": True,
    "s1_relax_iw_on_empty": True,
}
"""Fields of SensorSpec that have their place but take only this value as yet."""

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
    modality = find_modality(
        card,
        {
            "modality": request.modality,
            "sensor.modality": request.sensor.modality if request.sensor is not None else None,
        },
        served,
    )
    sensor = _sensor(card, modality, request)
    _check_saving(sensor, limits)
    check_options(card, request.config, "model_config")
    check_output(card, request.output)
    collection = collections.get(sensor.collection)
    start, end = _window(card, collection, request)
    plans = []
    for position, place in enumerate(request.places):
        field = "spatial" if request.spatial is not None else f"spatials.{position}"
        pixel_grid = _grid(place, sensor.scale_m, collection.lattice_m, field)
        check_pixels(card, modality, pixel_grid.shape, limits, field, "scale_m")
        query = ImageQuery(sensor, pixel_grid, start, end, modality)
        pooling = None if isinstance(request.output, OutputGrid) else request.output.pooling
        tiles = tiles_of(card, modality, request.input_prep, pixel_grid.shape, limits)
        area = place if isinstance(place, Polygon | MultiPolygon) and pooling else None
        if area is not None and "grid" not in card.outputs:
            raise ModelError(
                f"{card.id} gives one vector for all that it sees and cannot leave out what lies "
                "outside of a polygon; accepted: PointBuffer, BBox",
                field=field,
            )
        # One vector of all cells that count is the same however the place was cut.
        pooled_later = (tiles or area) and "grid" in card.outputs
        encoding = None if pooled_later else pooling
        plans.append(GeoPlan(query, request.backend, pooling, tiles, area, encoding))
    return plans


def find_modality(card: ModelCard, asked: Mapping[str, str | None], served: tuple[str, ...]) -> str:
    """The satellite imagery that a request is about.

    Args:
        card: The model's card.
        asked: What the request says, by its parameter; None: nothing.
        served: Inputs that the served weights read.

    Raises:
        ModelError: The model reads none, not this one, or the parameters differ.
    """
    offered = [name for name in card.modalities if name in served]
    if not offered:
        raise ModelError(f"{card.id} reads pictures only; use /image_embedding", field="model")
    named = {
        field: _offered(card, name, offered, field)
        for field, name in asked.items()
        if name is not None
    }
    if len(set(named.values())) > 1:
        raise ModelError(
            f"modality is {asked['modality']!r} but sensor.modality says otherwise; "
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
    for name, only in _PLANNED.items():
        if getattr(sensor, name) != only:
            raise ModelError(
                f"sensor.{name} is not supported yet; accepted: {only!r}", field=f"sensor.{name}"
            )
    if sensor.bands != default.bands:
        raise ModelError(
            f"{card.id} reads the bands {', '.join(default.bands)}, in this order; "
            f"got {', '.join(sensor.bands)}",
            field="sensor.bands",
        )
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


def tiles_of(
    card: ModelCard, modality: str, prep: InputPrep, shape: tuple[int, int], limits: Limits
) -> Tiling | None:
    """The tiles that pixels are cut into; None: the model gets them whole.

    Raises:
        ModelError: The model has no input size, and the request names no tile size.
        SpecError: The tiles leave gaps, are too many or too large.
        PayloadTooLarge: The tiles have too many pixels together.
    """
    size = card.modalities[modality].size
    tiles = tiling.decide(cast("InputPrepSpec", prep), shape, size, card.id)
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


def check_pixels(
    card: ModelCard,
    modality: str,
    shape: tuple[int, int],
    limits: Limits,
    field: str,
    pixel_size: str,
) -> None:
    """Check that a place has neither too many pixels nor too few.

    Args:
        card: The model's card.
        modality: What it reads.
        shape: (height, width) of the place, pixels.
        limits: Bounds of the service.
        field: Parameter that names the place.
        pixel_size: What a caller would change for other pixels.

    Raises:
        PayloadTooLarge: More than the service takes.
        ModelError: Fewer than the model needs.
    """
    height, width = shape
    if height * width > limits.max_place_pixels:
        raise PayloadTooLarge(
            f"the place has {height * width:,} pixels; accepted: up to "
            f"{limits.max_place_pixels:,}. Take a smaller place or a larger {pixel_size}",
            field=field,
            detail={"pixels": height * width, "limit": limits.max_place_pixels},
        )
    least = card.modalities[modality].min_pixels
    if min(shape) < least:
        raise ModelError(
            f"the place has {height} x {width} pixels, {card.id} needs at least "
            f"{least} x {least}; take a larger place or a smaller {pixel_size}",
            field=field,
        )
