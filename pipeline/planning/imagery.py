"""Plans the imagery that is fetched of every region. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from geobento.schemas import modalities
from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import ModelError, SpecError
from geobento.schemas.requests import GeoEmbeddingRequest, InspectRequest
from geobento.schemas.sample import PixelGrid
from geobento.schemas.specs import Region, SensorSpec
from imagery import grid
from imagery.collections import registry
from imagery.query import ImageQuery
from pipeline.planning import temporal as planning_temporal
from pipeline.planning.limits import Limits, check_region_size

_SENTINEL1_DEFAULTS = {"orbit": None, "s1_require_iw": True, "s1_relax_iw_on_empty": True}
"""Fields of SensorSpec that take another value only for Sentinel-1."""


ANY_TIME = datetime(1972, 1, 1, tzinfo=UTC), datetime(2201, 1, 1, tzinfo=UTC)
"""Window of a request without one for imagery that is the same at all times."""


@dataclass(frozen=True)
class ImageryPlan:
    """The imagery that is fetched of every region of a request.

    Attributes:
        sensor: Collection, bands, scale, cloud filter, composite.
        modality: Which of the model's modalities that is.
        start: First instant inside the window, UTC.
        end: First instant outside the window, UTC.
        frames: Composites in time.
        auxiliary: The same of auxiliary modalities.
    """

    sensor: SensorSpec
    modality: str
    start: datetime
    end: datetime
    frames: int = 1
    auxiliary: tuple[ImageryPlan, ...] = ()

    def region_query(self, region: Region, limits: Limits, field: str) -> ImageQuery:
        """The fetch of one region.

        Raises:
            SpecError: The region cannot be put on a pixel grid.
            PayloadTooLarge: It has more pixels than allowed.
        """
        snap_m = registry.get(self.sensor.collection).snap_m
        pixel_grid = _region_grid(region, self.sensor.scale_m, snap_m, field)
        check_region_size(pixel_grid.shape, limits, field)
        return self.grid_query(pixel_grid)

    def aligned_query(self, main: ImageQuery) -> ImageQuery:
        """The fetch of the same ground, on its pixels or, for a finer sensor, on parts of them."""
        parts = max(1, round(main.sensor.scale_m / self.sensor.scale_m))
        return self.grid_query(main.grid.cells(main.grid.height * parts, main.grid.width * parts))

    def grid_query(self, pixel_grid: PixelGrid) -> ImageQuery:
        """The fetch of some pixels."""
        return ImageQuery(self.sensor, pixel_grid, self.start, self.end, self.modality, self.frames)


def plan_patch(
    card: ModelCard | None,
    request: InspectRequest,
    *,
    served_modalities: tuple[str, ...],
    limits: Limits,
) -> ImageQuery:
    """The fetch of an inspection.

    Args:
        card: Card of the model that the request names; None: it names none.
        request: The request.
        served_modalities: Inputs that the served weights read.
        limits: Bounds of the service.

    Raises:
        ModelError: The model has no such imagery, or the sensor cannot be.
        SpecError: The region cannot be put on a pixel grid.
        PayloadTooLarge: The region has more pixels than allowed.
    """
    if card is not None:
        imagery = plan_imagery(card, request, served_modalities)
    else:
        sensor = cast("SensorSpec", request.sensor)
        _check_sensor(sensor)
        start, end = _resolve_window(None, sensor, request)
        imagery = ImageryPlan(sensor, sensor.modality or "", start, end)
    return imagery.region_query(cast("Region", request.spatial), limits, "spatial")


def plan_imagery(
    card: ModelCard,
    request: GeoEmbeddingRequest | InspectRequest,
    served_modalities: tuple[str, ...],
) -> ImageryPlan:
    """What is fetched of every region, as one composite of its modality alone.

    Raises:
        ModelError: The model does not read it.
        SpecError: The sensor or the window cannot be.
    """
    named = None if request.sensor is None else request.sensor.modality
    requested = {"modality": request.modality, "sensor.modality": named}
    modality = find_modality(card, requested, served_modalities)
    sensor = _resolve_sensor(card, modality, request)
    return ImageryPlan(sensor, modality, *_resolve_window(card, sensor, request))


def with_frames_and_auxiliary(
    card: ModelCard, imagery: ImageryPlan, request: GeoEmbeddingRequest
) -> ImageryPlan:
    """With the frames of the window, and with what accompanies it."""
    auxiliary = tuple(
        _plan_auxiliary(card, imagery, name, f"auxiliary_modalities.{position}")
        for position, name in enumerate(request.auxiliary_modalities)
    )
    names = [imagery.modality, *(one.modality for one in auxiliary)]
    if len(set(names)) < len(names):
        raise ModelError("a modality is named twice", field="auxiliary_modalities")
    return replace(
        _with_frames(card, imagery, request.config),
        auxiliary=tuple(
            one
            if card.modalities[one.modality].series is None
            else _with_frames(card, one, request.config)
            for one in auxiliary
        ),
    )


def _plan_auxiliary(card: ModelCard, imagery: ImageryPlan, name: str, field: str) -> ImageryPlan:
    """An auxiliary modality in the same window."""
    offered = [key for key, spec in card.modalities.items() if spec.auxiliary]
    if not offered:
        raise ModelError(f"{card.id} reads one modality at a time", field="auxiliary_modalities")
    modality = _require_modality(card, name, offered, field)
    sensor = card.modalities[modality].sensor
    if (imagery.start, imagery.end) == ANY_TIME and not registry.get(sensor.collection).static:
        raise _missing_window_error(sensor.collection)
    try:
        _check_sensor(sensor)
    except ModelError as error:
        error.field = field
        raise
    try:
        start, end = _auxiliary_window(card, modality, imagery.start, imagery.end)
    except (OverflowError, ValueError):
        raise SpecError(
            f"{modality} is read from a longer window, and no calendar goes so far",
            field="temporal",
        ) from None
    return ImageryPlan(sensor, modality, start, end)


def _auxiliary_window(
    card: ModelCard, modality: str, start: datetime, end: datetime
) -> tuple[datetime, datetime]:
    """The window of an auxiliary modality; of yearly imagery all years that it lies in."""
    spec = card.modalities[modality]
    margin = timedelta(days=spec.margin_days)
    start, end = start - margin, end + margin
    if not registry.get(spec.sensor.collection).yearly:
        return start, end
    years = start.year, (end - timedelta(microseconds=1)).year + 1
    return datetime(years[0], 1, 1, tzinfo=UTC), datetime(years[1], 1, 1, tzinfo=UTC)


def _with_frames(card: ModelCard, imagery: ImageryPlan, options: Mapping[str, Any]) -> ImageryPlan:
    if registry.get(imagery.sensor.collection).static:
        return imagery
    window = imagery.start, imagery.end
    return replace(
        imagery, frames=planning_temporal.frame_count(card, imagery.modality, window, options)
    )


def find_modality(
    card: ModelCard, requested: Mapping[str, str | None], served_modalities: tuple[str, ...]
) -> str:
    """The satellite imagery that a request is about.

    Args:
        card: The model's card.
        requested: What the request says, by its parameter; None: nothing.
        served_modalities: Inputs that the served weights read.

    Raises:
        ModelError: The model reads none, not this one, or the parameters differ.
    """
    offered = [name for name in card.modalities if name in served_modalities]
    if not offered:
        raise ModelError(f"{card.id} reads images only; use /image_embedding", field="model")
    named = {
        field: _require_modality(card, name, offered, field)
        for field, name in requested.items()
        if name is not None
    }
    if len(set(named.values())) > 1:
        raise ModelError(
            f"modality is {requested['modality']!r} but sensor.modality says otherwise; "
            "give one of the two",
            field="sensor.modality",
        )
    return next(iter(named.values()), card.default_modality or offered[0])


def _require_modality(card: ModelCard, name: str, available: list[str], field: str) -> str:
    modality = modalities.find_modality_name(name, available)
    if modality is None:
        raise ModelError(
            f"{card.id} does not read modality {name!r}; accepted: {', '.join(available)}",
            field=field,
        )
    return modality


def _resolve_sensor(
    card: ModelCard, modality: str, request: GeoEmbeddingRequest | InspectRequest
) -> SensorSpec:
    if request.sensor is not None and request.fetch is not None:
        raise ModelError(
            "sensor replaces the model's sensor, fetch changes it: give one of the two",
            field="fetch",
        )
    default = card.modalities[modality].sensor
    sensor = request.sensor or default
    if request.fetch is not None:
        overrides = {f.name: getattr(request.fetch, f.name) for f in fields(request.fetch)}
        sensor = replace(sensor, **{k: v for k, v in overrides.items() if v is not None})
    if card.modalities[modality].fixed_collection and sensor.collection != default.collection:
        raise ModelError(
            f"{card.id} was not trained on {modality} images such as {sensor.collection}; "
            f"accepted: {default.collection}, or user-supplied pixels",
            field="sensor.collection",
        )
    _check_sensor(sensor)
    return sensor


def _check_sensor(sensor: SensorSpec) -> None:
    if not sensor.use_float_linear:
        raise ModelError(
            "decibels are those of the collection COPERNICUS/S1_GRD, as its name says; "
            "accepted: true",
            field="sensor.use_float_linear",
        )
    gee = registry.get(sensor.collection).gee
    if sensor.cloud_mask == "cloud_score_plus" and gee.cloud_score is None:
        raise ModelError(
            f"Cloud Score+ is of Sentinel-2 alone; {sensor.collection} accepts 'quality_band'",
            field="sensor.cloud_mask",
        )
    for name, only in _SENTINEL1_DEFAULTS.items():
        if not gee.radar and getattr(sensor, name) != only:
            raise ModelError(
                f"sensor.{name} is for Sentinel-1; {sensor.collection} accepts {only!r} alone",
                field=f"sensor.{name}",
            )


def _resolve_window(
    card: ModelCard | None, sensor: SensorSpec, request: GeoEmbeddingRequest | InspectRequest
) -> tuple[datetime, datetime]:
    collection = registry.get(sensor.collection)
    temporal = request.temporal or (card.default_temporal if card is not None else None)
    if temporal is None and collection.static:
        return ANY_TIME
    if temporal is None:
        raise _missing_window_error(sensor.collection if card is None else card.id)
    return _calendar_year(temporal.window, sensor) if collection.yearly else temporal.window


def _missing_window_error(subject: str) -> ModelError:
    return ModelError(
        f'{subject} needs a time window: {{"mode": "range", "start": "2023-06-01", '
        '"end": "2023-07-01"} or {"mode": "year", "year": 2023}',
        field="temporal",
    )


def _calendar_year(
    window: tuple[datetime, datetime], sensor: SensorSpec
) -> tuple[datetime, datetime]:
    """The calendar year that a window lies in."""
    start, end = window
    first, following = (datetime(start.year + more, 1, 1, tzinfo=UTC) for more in (0, 1))
    if end > following:
        raise ModelError(
            f"{sensor.collection} has one image per calendar year, and the window lies in several; "
            f'accepted: a window within one year, such as {{"mode": "year", "year": {start.year}}}',
            field="temporal",
        )
    return first, following


def _region_grid(region: Region, scale_m: float, snap_m: float | None, field: str) -> PixelGrid:
    try:
        return grid.for_region(region, scale_m, snap_m)
    except SpecError as error:
        error.field = field + (error.field or "").removeprefix("spatial")
        raise
