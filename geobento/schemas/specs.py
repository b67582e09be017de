"""Where, when, from what and in which form: the parameters of ``get_embedding``.

All are frozen, take their arguments by position (``PointBuffer(121.5, 31.2, 2048)``), go to JSON
and back with a tag (``type`` for places, ``mode`` for the rest), and raise a SpecError where
their values do not fit.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from geobento.schemas.geometry import BBox, MultiPolygon, PointBuffer, Polygon, Region, Spatial
from geobento.schemas.validation import validated_spec

# -- when --------------------------------------------------------------------------------------


def _parse_instant(value: Any) -> datetime:
    """A date or a time, as text or object, as an instant in UTC. A date is its midnight."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(
                f"{value!r} is not a date; accepted: '2023-06-01' or '2023-06-01T10:30:00Z'"
            ) from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise ValueError("expected an ISO 8601 date or time such as '2023-06-01'")
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value.isoformat()} lies outside the years 1 to 9999 in UTC") from None


def _format_instant(value: datetime) -> str:
    if value.time() == datetime.min.time():
        return value.date().isoformat()
    return value.isoformat().replace("+00:00", "Z")


Instant = Annotated[
    datetime,
    BeforeValidator(_parse_instant),
    PlainSerializer(_format_instant, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["2023-06-01", "2023-06-01T10:30:00Z"]}),
]


@validated_spec
class TemporalRange:
    """A half-open window: imagery with `start <= time < end`."""

    start: Instant
    """First instant inside, UTC; a bare date means its midnight."""
    end: Instant
    """First instant outside, UTC; after `start`."""
    mode: Literal["range"] = "range"

    def __post_init__(self) -> None:
        if not self.start < self.end:
            raise ValueError(
                f"end ({_format_instant(self.end)}) must be after start "
                f"({_format_instant(self.start)}); "
                "the window is half-open: start <= time < end"
            )

    @property
    def window(self) -> tuple[datetime, datetime]:
        """Start (inside) and end (outside) of the window, UTC."""
        return self.start, self.end


@validated_spec
class TemporalYear:
    """A calendar year, from its 1 January to the next, UTC."""

    year: Annotated[int, Field(ge=1972, le=2200)]
    """The year; Earth observation from space begins in 1972."""
    mode: Literal["year"] = "year"

    @property
    def window(self) -> tuple[datetime, datetime]:
        """Start (inside) and end (outside) of the window, UTC."""
        return datetime(self.year, 1, 1, tzinfo=UTC), datetime(self.year + 1, 1, 1, tzinfo=UTC)


Temporal: TypeAlias = Annotated[TemporalRange | TemporalYear, Discriminator("mode")]


class TemporalSpec:
    """Makes time windows: `TemporalSpec.range("2023-06-01", "2023-07-01")`, `.year(2023)`."""

    @staticmethod
    def range(start: str | date | datetime, end: str | date | datetime) -> TemporalRange:
        """A half-open window from `start` (inside) to `end` (outside)."""
        return TemporalRange(start, end)  # type: ignore[arg-type]

    @staticmethod
    def year(year: int) -> TemporalYear:
        """A whole calendar year."""
        return TemporalYear(year)


# -- from what ---------------------------------------------------------------------------------

Composite = Literal["median", "mean", "mosaic"]
CloudMask = Literal["quality_band", "cloud_score_plus"]
ScaleM = Annotated[float, Field(gt=0, le=10_000)]
CloudyPct = Annotated[float, Field(ge=0, le=100)]


@validated_spec
class SensorSpec:
    """Which pixels to fetch. Replaces the model's default sensor as a whole."""

    collection: Annotated[str, Field(min_length=1)]
    """Earth Engine id of the collection, whatever the backend, such as
    `COPERNICUS/S2_SR_HARMONIZED`."""
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    """Band names of the collection, in the order in which the model gets them."""
    scale_m: ScaleM = 10
    """Ground size of a pixel, metres."""
    cloudy_pct: CloudyPct | None = 30
    """Scenes with more cloud than this percentage are left out; null takes all."""
    fill_value: float = 0.0
    """Value of a pixel for which no scene has data."""
    composite: Composite = "median"
    """How the scenes of the window become one image: per-pixel `median` or `mean`, or `mosaic`
    with the latest on top."""
    modality: str | None = None
    """Modality of the model that these pixels feed; needed where a model has several."""
    orbit: Literal["ASCENDING", "DESCENDING"] | None = None
    """Sentinel-1: only this pass direction."""
    use_float_linear: bool = True
    """Sentinel-1: linear power in float instead of decibels."""
    s1_require_iw: bool = True
    """Sentinel-1: only interferometric wide swath scenes."""
    s1_relax_iw_on_empty: bool = True
    """Sentinel-1: take other modes where no wide swath scene exists."""
    check_input: bool = False
    """Check the fetched pixels for plausibility before the model sees them."""
    check_raise: bool = True
    """With `check_input`: fail instead of warning in the metadata."""
    check_save_dir: str | None = None
    """With `check_input`: folder for a picture of the pixels; never over HTTP."""
    cloud_mask: CloudMask = "quality_band"
    """Which pixels of a scene are left out: those that its own `quality_band` calls clouds, shadows
    or defects, where it has one; or, of Sentinel-2 and from Earth Engine alone, those with a
    `cloud_score_plus` (band `cs_cdf`) below 0.6, or without one."""


@validated_spec
class FetchSpec:
    """Changes to the model's default sensor; what is null stays as the model has it."""

    scale_m: ScaleM | None = None
    """Ground size of a pixel, metres."""
    cloudy_pct: CloudyPct | None = None
    """Largest cloud percentage of a scene."""
    fill_value: float | None = None
    """Value of a pixel without data."""
    composite: Composite | None = None
    """How scenes become one image."""
    cloud_mask: CloudMask | None = None
    """What leaves out clouds, pixel by pixel."""


# -- in which form -----------------------------------------------------------------------------

RegionPooling = Literal["native", "mean", "max", "cls"]


@validated_spec
class OutputPooled:
    """One vector `(D,)` for the whole place."""

    pooling: RegionPooling = "native"
    """`native`: the vector of the reference implementation, which is the mean of the grid where it
    has no other. `mean` and `max`: of the vectors of the grid, which may lie in another space and
    have another length. `cls`: the class token of the last layer, of models that have one
    (`class_token` of the card)."""
    mode: Literal["pooled"] = "pooled"


@validated_spec
class OutputGrid:
    """A grid of vectors `(D, H, W)` with its CRS and transform in the metadata."""

    grid_orientation: Literal["north_up", "native"] = "north_up"
    """`north_up`: rows run from north to south. `native`: as the model gives them, which is the
    same, since pixels are fetched north up."""
    mode: Literal["grid"] = "grid"


Output: TypeAlias = Annotated[OutputPooled | OutputGrid, Discriminator("mode")]


class OutputSpec:
    """Makes output specs: `OutputSpec.pooled("mean")`, `OutputSpec.grid()`."""

    @staticmethod
    def pooled(pooling: RegionPooling = "native") -> OutputPooled:
        """One vector for the place."""
        return OutputPooled(pooling)

    @staticmethod
    def grid(grid_orientation: Literal["north_up", "native"] = "north_up") -> OutputGrid:
        """A georeferenced grid of vectors."""
        return OutputGrid(grid_orientation)


InputPrepMode = Literal["resize", "tile", "auto"]


@validated_spec
class InputPrepSpec:
    """How a place larger than the model's input is brought to it."""

    mode: InputPrepMode = "resize"
    """`resize` the pixels to the input size, `tile` them, or decide by size (`auto`)."""
    tile_size: Annotated[int, Field(gt=0)] | None = None
    """Side of a tile in pixels; the model's input size if null."""
    tile_stride: Annotated[int, Field(gt=0)] | None = None
    """Pixels from one tile to the next; the tile size if null."""
    max_tiles: Annotated[int, Field(gt=0)] | None = None
    """More tiles than this are refused."""
    pad_edges: bool = True
    """Pad a place that is smaller than one tile."""


def _to_input_prep(value: InputPrepSpec | InputPrepMode) -> InputPrepSpec:
    return InputPrepSpec(mode=value) if isinstance(value, str) else value


InputPrep: TypeAlias = Annotated[InputPrepSpec | InputPrepMode, AfterValidator(_to_input_prep)]

Backend = Literal["auto", "gee", "stac", "demo"]
Device = Literal["auto", "cpu", "cuda"]


__all__ = [
    "BBox",
    "Backend",
    "CloudMask",
    "Composite",
    "Device",
    "FetchSpec",
    "InputPrep",
    "InputPrepSpec",
    "Instant",
    "MultiPolygon",
    "Output",
    "OutputGrid",
    "OutputPooled",
    "OutputSpec",
    "PointBuffer",
    "Polygon",
    "Region",
    "SensorSpec",
    "Spatial",
    "Temporal",
    "TemporalRange",
    "TemporalSpec",
    "TemporalYear",
]
