"""From a card and a request to a plan. Pure: every contract error is raised here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from geobento.cards import ModelCard
from geobento.errors import InvalidRequest, ModelError, PayloadTooLarge
from geobento.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from geobento.sample import PixelGrid
from geobento.specs import BBox, OutputGrid, PointBuffer, SensorSpec, ground_size_m
from imagery import collections, grid
from imagery.source import ImageQuery
from models import bands
from models.pooling import Pooling

_PLANNED = {
    "orbit": None,
    "use_float_linear": True,
    "s1_require_iw": True,
    "s1_relax_iw_on_empty": True,
    "check_input": False,
    "check_save_dir": None,
}
"""Fields of SensorSpec that have their place but take only this value as yet."""


@dataclass(frozen=True)
class GeoPlan:
    """One place of a request, resolved.

    Attributes:
        query: What to fetch.
        backend: ``gee``, ``stac``, ``demo`` or ``auto``.
        pooling: How to make one vector; None: the grid.
    """

    query: ImageQuery
    backend: str
    pooling: Pooling | None


@dataclass(frozen=True)
class Limits:
    """Bounds that the service sets."""

    max_place_pixels: int


def check_image_request(card: ModelCard, request: ImageEmbeddingRequest | ZeroShotRequest) -> None:
    """Check what can be checked before a picture is decoded.

    Raises:
        ModelError: The model reads no pictures, or a key of `config` is not its own.
    """
    if card.image is None:
        raise ModelError(
            f"{card.id} reads satellite imagery only; use /geo_embedding", field="model"
        )
    check_config(card, request.config, "config")


def check_text_request(card: ModelCard, request: TextEmbeddingRequest | ZeroShotRequest) -> None:
    """Check what can be checked before a text is read.

    Raises:
        ModelError: The model reads no texts, or a key of `config` is not its own.
    """
    if card.text is None:
        raise ModelError(f"{card.id} reads no texts", field="model")
    check_config(card, request.config, "config")


def plan_geo(
    card: ModelCard, request: GeoEmbeddingRequest, *, modalities: tuple[str, ...], limits: Limits
) -> list[GeoPlan]:
    """One plan for each place of the request.

    Args:
        card: The model's card.
        request: The request.
        modalities: Inputs that the served weights read.
        limits: Bounds of the service.

    Raises:
        ModelError: The model does not offer what is asked.
        InvalidRequest: A place cannot be put on a pixel grid.
        PayloadTooLarge: A place has more pixels than allowed.
    """
    modality = _modality(card, request, modalities)
    sensor = _sensor(card, modality, request)
    check_config(card, request.config, "model_config")
    _check_form(card, request)
    start, end = _window(card, request)
    collection = collections.get(sensor.collection)
    plans = []
    for position, place in enumerate(request.places):
        field = "spatial" if request.spatial is not None else f"spatials.{position}"
        _check_size(place, sensor, limits, field)
        pixel_grid = _grid(place, sensor.scale_m, collection.lattice_m, field)
        _check_pixels(card, modality, pixel_grid.shape, limits, field)
        query = ImageQuery(sensor, pixel_grid, start, end, modality)
        pooling = None if isinstance(request.output, OutputGrid) else request.output.pooling
        plans.append(GeoPlan(query, request.backend, pooling))
    return plans


def check_config(card: ModelCard, config: Mapping[str, Any], field: str) -> None:
    """Check the keys of a request's model options against the card.

    Raises:
        ModelError: A key is not one of the card's.
    """
    known = card.config_schema.get("properties", {})
    if unknown := sorted(set(config) - set(known)):
        accepted = ", ".join(sorted(known)) or "none"
        raise ModelError(
            f"{card.id} has no option {unknown[0]!r}; accepted: {accepted}",
            field=f"{field}.{unknown[0]}",
        )


def _modality(card: ModelCard, request: GeoEmbeddingRequest, served: tuple[str, ...]) -> str:
    offered = [name for name in card.modalities if name in served]
    if not offered:
        raise ModelError(f"{card.id} reads pictures only; use /image_embedding", field="model")
    of_sensor = request.sensor.modality if request.sensor is not None else None
    wanted = request.modality or of_sensor or card.default_modality or offered[0]
    if wanted not in offered:
        raise ModelError(
            f"{card.id} does not read modality {wanted!r}; accepted: {', '.join(offered)}",
            field="modality",
        )
    if request.modality and of_sensor and request.modality != of_sensor:
        raise ModelError(
            f"modality is {request.modality!r} but sensor.modality is {of_sensor!r}",
            field="sensor.modality",
        )
    return wanted


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
    bands.check(card, modality, sensor.bands, request.config)
    return sensor


def _check_form(card: ModelCard, request: GeoEmbeddingRequest) -> None:
    if request.output.mode not in card.outputs:
        raise ModelError(
            f"{card.id} does not answer with {request.output.mode!r}; "
            f"accepted: {', '.join(card.outputs)}",
            field="output.mode",
        )
    if request.input_prep.mode == "tile":  # type: ignore[union-attr]
        raise ModelError(
            f"{card.id} reads a place of any size whole; input_prep 'tile' is not supported yet, "
            "accepted: 'resize' or 'auto'",
            field="input_prep",
        )


def _window(card: ModelCard, request: GeoEmbeddingRequest) -> tuple[datetime, datetime]:
    temporal = request.temporal or card.default_temporal
    if temporal is None:
        raise ModelError(
            f"{card.id} needs a time window: "
            '{"mode": "range", "start": "2023-06-01", "end": "2023-07-01"} or '
            '{"mode": "year", "year": 2023}',
            field="temporal",
        )
    return temporal.window


def _grid(
    place: PointBuffer | BBox, scale_m: float, lattice_m: float | None, field: str
) -> PixelGrid:
    try:
        return grid.for_place(place, scale_m, lattice_m)
    except InvalidRequest as error:
        error.field = field
        raise


def _check_size(place: PointBuffer | BBox, sensor: SensorSpec, limits: Limits, field: str) -> None:
    width, height = ground_size_m(place)
    pixels = (width / sensor.scale_m) * (height / sensor.scale_m)
    # A box is a little larger on the projected grid; the exact count is checked there.
    if pixels > 2 * limits.max_place_pixels:
        raise _too_large(round(pixels), limits, field)


def _check_pixels(
    card: ModelCard, modality: str, shape: tuple[int, int], limits: Limits, field: str
) -> None:
    height, width = shape
    if height * width > limits.max_place_pixels:
        raise _too_large(height * width, limits, field)
    least = card.modalities[modality].min_pixels
    if min(shape) < least:
        raise ModelError(
            f"the place has {height} x {width} pixels, {card.id} needs at least "
            f"{least} x {least}; take a larger place or a smaller scale_m",
            field=field,
        )


def _too_large(pixels: int, limits: Limits, field: str) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"the place has about {pixels:,} pixels; accepted: up to {limits.max_place_pixels:,}. "
        "Take a smaller place or a larger scale_m",
        field=field,
        detail={"pixels": pixels, "limit": limits.max_place_pixels},
    )
