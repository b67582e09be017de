"""From a card and a request to a plan. Pure: every contract error is raised here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, cast

from geobento import modalities
from geobento.cards import ModelCard
from geobento.errors import GeoBentoError, ModelError, PayloadTooLarge, SpecError
from geobento.options import check_options
from geobento.places import Area, MultiPolygon, Polygon
from geobento.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from geobento.sample import PixelGrid
from geobento.specs import InputPrep, InputPrepSpec, Output, OutputGrid, Place, SensorSpec
from imagery import collections, grid
from imagery.source import ImageQuery
from models import bands
from models.pooling import Pooling
from pipeline import series, tiling
from pipeline.tiling import Tiling

_RADAR = {"orbit": None, "s1_require_iw": True, "s1_relax_iw_on_empty": True}
"""Fields of SensorSpec that take another value only for Sentinel-1."""

OVERLAP = 4
"""The tiles of a place, and its frames, have at most this many times the pixels that a place may
have."""

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
        further: What to fetch of further modalities, on the same pixels.
    """

    query: ImageQuery
    backend: str
    pooling: Pooling | None
    tiling: Tiling | None = None
    area: Area | None = None
    encoding: Pooling | None = None
    further: tuple[ImageQuery, ...] = ()

    @property
    def asked(self) -> list[tuple[str, ImageQuery]]:
        """All that is fetched, as (backend, query), the modality itself first."""
        return [(self.backend, query) for query in (self.query, *self.further)]


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


@dataclass(frozen=True)
class Imagery:
    """What is fetched of every place of a request.

    Attributes:
        sensor: Collection, bands, scale, cloud filter, composite.
        modality: Which of the model's modalities that is.
        start: First instant inside the window, UTC.
        end: First instant outside the window, UTC.
        frames: Composites in time.
        further: The same of further modalities.
    """

    sensor: SensorSpec
    modality: str
    start: datetime
    end: datetime
    frames: int = 1
    further: tuple[Imagery, ...] = ()

    def query(self, place: Place, limits: Limits, field: str) -> ImageQuery:
        """The fetch of one place.

        Raises:
            SpecError: The place cannot be put on a pixel grid.
            PayloadTooLarge: It has more pixels than allowed.
        """
        lattice_m = collections.get(self.sensor.collection).lattice_m
        pixel_grid = _grid(place, self.sensor.scale_m, lattice_m, field)
        _check_size(pixel_grid.shape, limits, field)
        return self.over(pixel_grid)

    def beside(self, main: ImageQuery) -> ImageQuery:
        """The fetch of the same ground, on its pixels or, for a finer sensor, on parts of them."""
        parts = max(1, round(main.sensor.scale_m / self.sensor.scale_m))
        return self.over(main.grid.cells(main.grid.height * parts, main.grid.width * parts))

    def over(self, pixel_grid: PixelGrid) -> ImageQuery:
        """The fetch of some pixels."""
        return ImageQuery(self.sensor, pixel_grid, self.start, self.end, self.modality, self.frames)


def plan_geo(
    card: ModelCard, request: GeoEmbeddingRequest, *, served: tuple[str, ...], limits: Limits
) -> tuple[Imagery, list[GeoPlan | GeoBentoError]]:
    """What is fetched of every place, and for each a plan or the error that it has.

    Errors of a place are a ModelError where the model does not do it, a SpecError where it cannot
    be put on a pixel grid or cut into tiles, and PayloadTooLarge where it has too many pixels.

    Args:
        card: The model's card.
        request: The request.
        served: Inputs that the served weights read.
        limits: Bounds of the service.

    Raises:
        ModelError: The model does not offer what is asked.
        SpecError: A folder is asked for where none may be.
    """
    imagery = _imagery(card, request, served)
    bands.check(card, imagery.modality, imagery.sensor.bands, request.config)
    _check_saving(imagery.sensor, limits)
    check_options(card, request.config, "model_config")
    imagery = _over_time(card, imagery, request)
    check_output(card, request.output)
    plans: list[GeoPlan | GeoBentoError] = []
    for position, place in enumerate(request.places):
        field = "spatial" if request.spatial is not None else f"spatials.{position}"
        try:
            plans.append(_plan(card, request, place, imagery, limits, field))
        except GeoBentoError as error:
            plans.append(error)
    return imagery, plans


def plan_patch(
    card: ModelCard | None, request: InspectRequest, *, served: tuple[str, ...], limits: Limits
) -> ImageQuery:
    """The fetch of an inspection.

    Args:
        card: Card of the model that the request names; None: it names none.
        request: The request.
        served: Inputs that the served weights read.
        limits: Bounds of the service.

    Raises:
        ModelError: The model has no such imagery, or the sensor cannot be.
        SpecError: The place cannot be put on a pixel grid.
        PayloadTooLarge: The place has more pixels than allowed.
    """
    if card is not None:
        imagery = _imagery(card, request, served)
    else:
        sensor = cast("SensorSpec", request.sensor)
        _check_sensor(sensor)
        start, end = _window(None, sensor, request)
        imagery = Imagery(sensor, sensor.modality or "", start, end)
    return imagery.query(cast("Place", request.spatial), limits, "spatial")


def _imagery(
    card: ModelCard, request: GeoEmbeddingRequest | InspectRequest, served: tuple[str, ...]
) -> Imagery:
    named = None if request.sensor is None else request.sensor.modality
    asked = {"modality": request.modality, "sensor.modality": named}
    modality = find_modality(card, asked, served)
    sensor = _sensor(card, modality, request)
    return Imagery(sensor, modality, *_window(card, sensor, request))


def _over_time(card: ModelCard, imagery: Imagery, request: GeoEmbeddingRequest) -> Imagery:
    """With the frames of the window, and with what accompanies it."""
    further = tuple(
        _accompanying(card, imagery, name, f"further_modalities.{position}")
        for position, name in enumerate(request.further_modalities)
    )
    names = [imagery.modality, *(one.modality for one in further)]
    if len(set(names)) < len(names):
        raise ModelError("a modality is named twice", field="further_modalities")
    return replace(
        _in_frames(card, imagery, request.config),
        further=tuple(_in_frames(card, one, request.config) for one in further),
    )


def _accompanying(card: ModelCard, imagery: Imagery, name: str, field: str) -> Imagery:
    """A further modality in the same window."""
    offered = [key for key, spec in card.modalities.items() if spec.further]
    if not offered:
        raise ModelError(f"{card.id} reads one modality at a time", field="further_modalities")
    modality = _offered(card, name, offered, field)
    sensor = card.modalities[modality].sensor
    try:
        _check_sensor(sensor)
    except ModelError as error:
        error.field = field
        raise
    return Imagery(sensor, modality, imagery.start, imagery.end)


def _in_frames(card: ModelCard, imagery: Imagery, options: Mapping[str, Any]) -> Imagery:
    if collections.get(imagery.sensor.collection).static:
        return imagery
    window = imagery.start, imagery.end
    return replace(imagery, frames=series.frames(card, imagery.modality, window, options))


def _check_volume(query: ImageQuery, limits: Limits, field: str) -> None:
    """Check the pixels of all frames."""
    height, width = query.grid.shape
    most = OVERLAP * limits.max_place_pixels
    if (pixels := height * width * query.frames) > most:
        raise PayloadTooLarge(
            f"{query.frames} frames of the place have {pixels:,} pixels together; accepted: up to "
            f"{most:,}. Take a smaller place, a larger scale_m or fewer frames (n_frames)",
            field=field,
            detail={"pixels": pixels, "limit": most},
        )


def _plan(
    card: ModelCard,
    request: GeoEmbeddingRequest,
    place: Place,
    imagery: Imagery,
    limits: Limits,
    field: str,
) -> GeoPlan:
    query = imagery.query(place, _of_model(card, imagery.modality, limits), field)
    check_least(card, query.modality, query.grid.shape, field)
    _check_volume(query, limits, field)
    pooling = None if isinstance(request.output, OutputGrid) else request.output.pooling
    tiles = tiles_of(card, query.modality, request.input_prep, query.grid.shape, limits)
    area = place if isinstance(place, Polygon | MultiPolygon) and pooling else None
    if area is not None and not of_cells(card, pooling):
        raise ModelError(
            f"the vector of {card.id} is of all that it sees and cannot leave out what lies "
            "outside of a polygon; accepted: PointBuffer, BBox"
            + (", or output.pooling 'mean' or 'max'" if "grid" in card.outputs else ""),
            field=field,
        )
    encoding = None if (tiles or area) and of_cells(card, pooling) else pooling
    further = tuple(one.beside(query) for one in imagery.further)
    for other in further:
        _check_volume(other, limits, field)
    return GeoPlan(query, request.backend, pooling, tiles, area, encoding, further)


def unit_length(card: ModelCard, modality: str, pooling: Pooling | None) -> bool:
    """Whether the vector of a place is scaled to unit length."""
    return pooling == "authors" and card.modalities[modality].normalize


def of_cells(card: ModelCard, pooling: Pooling | None) -> bool:
    """Whether an answer can be made from the grid of vectors.

    One vector of all cells that count is the same however the place was cut.
    """
    return "grid" in card.outputs and (pooling != "authors" or card.feature == "mean")


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


def _sensor(
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
        given = {f.name: getattr(request.fetch, f.name) for f in fields(request.fetch)}
        sensor = replace(sensor, **{k: v for k, v in given.items() if v is not None})
    _check_sensor(sensor)
    return sensor


def _check_sensor(sensor: SensorSpec) -> None:
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
    spec = card.modalities[modality]
    tiles = tiling.decide(cast("InputPrepSpec", prep), shape, spec.tile or spec.size, card.id)
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
    card: ModelCard | None, sensor: SensorSpec, request: GeoEmbeddingRequest | InspectRequest
) -> tuple[datetime, datetime]:
    collection = collections.get(sensor.collection)
    temporal = request.temporal or (card.default_temporal if card is not None else None)
    if temporal is None and collection.static:
        return ANY_TIME
    if temporal is None:
        raise ModelError(
            f"{sensor.collection if card is None else card.id} needs a time window: "
            '{"mode": "range", "start": "2023-06-01", "end": "2023-07-01"} or '
            '{"mode": "year", "year": 2023}',
            field="temporal",
        )
    return _year_of(temporal.window, sensor) if collection.yearly else temporal.window


def _year_of(window: tuple[datetime, datetime], sensor: SensorSpec) -> tuple[datetime, datetime]:
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


def _grid(place: Place, scale_m: float, lattice_m: float | None, field: str) -> PixelGrid:
    try:
        return grid.for_place(place, scale_m, lattice_m)
    except SpecError as error:
        error.field = field + (error.field or "").removeprefix("spatial")
        raise


def _of_model(card: ModelCard, modality: str, limits: Limits) -> Limits:
    """The bounds of the service, or those of the model where they are narrower."""
    most = card.modalities[modality].max_pixels
    if most is None:
        return limits
    return replace(limits, max_place_pixels=min(most, limits.max_place_pixels))


def _check_size(shape: tuple[int, int], limits: Limits, field: str) -> None:
    height, width = shape
    if height * width > limits.max_place_pixels:
        raise PayloadTooLarge(
            f"the place has {height * width:,} pixels; accepted: up to "
            f"{limits.max_place_pixels:,}. Take a smaller place or a larger scale_m",
            field=field,
            detail={"pixels": height * width, "limit": limits.max_place_pixels},
        )


def check_least(
    card: ModelCard,
    modality: str,
    shape: tuple[int, int],
    field: str,
    pixel_size: str = "scale_m",
) -> None:
    """Check that a place has enough pixels for the model.

    Args:
        card: The model's card.
        modality: What it reads.
        shape: (height, width) of the place, pixels.
        field: Parameter that names the place.
        pixel_size: What a caller would change for other pixels.

    Raises:
        ModelError: It has too few.
    """
    height, width = shape
    least = card.modalities[modality].min_pixels
    if min(height, width) < least:
        raise ModelError(
            f"the place has {height} x {width} pixels, {card.id} needs at least "
            f"{least} x {least}; take a larger place or a smaller {pixel_size}",
            field=field,
        )
