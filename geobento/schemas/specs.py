"""Specs: the typed parameters of ``get_embedding``.

Specs are frozen and take positional arguments (``PointBuffer(121.5, 31.2, 2048)``). In JSON they
have a tag: ``type`` for regions, ``mode`` for the others. A value that is not valid raises
SpecError.
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

# -- time --------------------------------------------------------------------------------------


def _parse_instant(value: Any) -> datetime:
    """A date or time, as text or object, in UTC. A date means its midnight."""
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
    """Start, inclusive, UTC; a date means its midnight."""
    end: Instant
    """End, exclusive, UTC; after `start`."""
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
        """Start (inclusive) and end (exclusive), UTC."""
        return self.start, self.end


@validated_spec
class TemporalYear:
    """A calendar year, UTC."""

    year: Annotated[int, Field(ge=1972, le=2200)]
    """The year; Earth observation from space begins in 1972."""
    mode: Literal["year"] = "year"

    @property
    def window(self) -> tuple[datetime, datetime]:
        """Start (inclusive) and end (exclusive), UTC."""
        return datetime(self.year, 1, 1, tzinfo=UTC), datetime(self.year + 1, 1, 1, tzinfo=UTC)


Temporal: TypeAlias = Annotated[TemporalRange | TemporalYear, Discriminator("mode")]


class TemporalSpec:
    """Makes time windows: `TemporalSpec.range("2023-06-01", "2023-07-01")`, `.year(2023)`."""

    @staticmethod
    def range(start: str | date | datetime, end: str | date | datetime) -> TemporalRange:
        """A half-open window: `start` is inclusive, `end` exclusive."""
        return TemporalRange(start, end)  # type: ignore[arg-type]

    @staticmethod
    def year(year: int) -> TemporalYear:
        """A whole calendar year."""
        return TemporalYear(year)


# -- sensor ---------------------------------------------------------------------------------

Composite = Literal["median", "mean", "mosaic"]
CloudMask = Literal["quality_band", "cloud_score_plus"]
ScaleM = Annotated[float, Field(gt=0, le=10_000)]
CloudyPct = Annotated[float, Field(ge=0, le=100)]


@validated_spec
class SensorSpec:
    """Collection, bands, scale and composite of the pixels. Replaces the model's default sensor."""

    collection: Annotated[str, Field(min_length=1)]
    """Earth Engine id of the collection, for every backend, such as
    `COPERNICUS/S2_SR_HARMONIZED`."""
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    """Band names of the collection, in the order of the model's channels."""
    scale_m: ScaleM = 10
    """Ground size of a pixel, metres."""
    cloudy_pct: CloudyPct | None = 30
    """Maximum cloud cover of a scene, percent; null: no limit."""
    fill_value: float = 0.0
    """Value of pixels without data from any scene."""
    composite: Composite = "median"
    """How the scenes of the window are combined: per-pixel `median` or `mean`, or `mosaic` with the
    latest on top."""
    modality: str | None = None
    """Modality of the model for these pixels; required if a model has several."""
    orbit: Literal["ASCENDING", "DESCENDING"] | None = None
    """Sentinel-1: only scenes of this orbit direction."""
    use_float_linear: bool = True
    """Sentinel-1: linear power in float instead of decibels."""
    s1_require_iw: bool = True
    """Sentinel-1: only interferometric wide swath scenes."""
    s1_relax_iw_on_empty: bool = True
    """Sentinel-1: accept other modes if there is no wide swath scene."""
    check_input: bool = False
    """Check the fetched pixels for plausibility before the forward pass."""
    check_raise: bool = True
    """With `check_input`: raise an error instead of a warning in the metadata."""
    check_save_dir: str | None = None
    """With `check_input`: folder for an image of the pixels; not accepted over HTTP."""
    cloud_mask: CloudMask = "quality_band"
    """How clouds are masked per pixel. `quality_band`: pixels that the scene's quality band, if it
    has one, marks as cloud, shadow or defect. `cloud_score_plus`: pixels with a Cloud Score+
    (band `cs_cdf`) below 0.6 or without one; for Sentinel-2 from Earth Engine only."""


@validated_spec
class FetchSpec:
    """Changes to the model's default sensor; null: no change."""

    scale_m: ScaleM | None = None
    """Ground size of a pixel, metres."""
    cloudy_pct: CloudyPct | None = None
    """Maximum cloud cover of a scene, percent."""
    fill_value: float | None = None
    """Value of pixels without data."""
    composite: Composite | None = None
    """How scenes are combined."""
    cloud_mask: CloudMask | None = None
    """How clouds are masked per pixel."""


# -- output -----------------------------------------------------------------------------

RegionPooling = Literal["native", "mean", "max", "cls"]


@validated_spec
class OutputPooled:
    """One vector `(D,)` for the whole region."""

    pooling: RegionPooling = "native"
    """`native`: the vector of the reference implementation, or the mean of the grid if it has none.
    `mean` and `max`: over the vectors of the grid; they may be in another vector space, with
    another length. `cls`: the class token of the last layer, if the model has one (`class_token`
    of the card)."""
    mode: Literal["pooled"] = "pooled"


@validated_spec
class OutputGrid:
    """A grid of vectors `(D, H, W)` with its CRS and transform in the metadata."""

    grid_orientation: Literal["north_up", "native"] = "north_up"
    """`north_up`: rows run from north to south. `native`: as the model returns them; this is the
    same, because pixels are fetched north up."""
    mode: Literal["grid"] = "grid"


Output: TypeAlias = Annotated[OutputPooled | OutputGrid, Discriminator("mode")]


class OutputSpec:
    """Makes outputs: `OutputSpec.pooled("mean")`, `OutputSpec.grid()`."""

    @staticmethod
    def pooled(pooling: RegionPooling = "native") -> OutputPooled:
        """One vector for the region."""
        return OutputPooled(pooling)

    @staticmethod
    def grid(grid_orientation: Literal["north_up", "native"] = "north_up") -> OutputGrid:
        """A georeferenced grid of vectors."""
        return OutputGrid(grid_orientation)


InputPrepMode = Literal["resize", "tile", "auto"]


@validated_spec
class InputPrepSpec:
    """What happens to regions larger than the model's input: resized or cut into tiles."""

    mode: InputPrepMode = "resize"
    """`resize`: to the input size. `tile`: cut into tiles. `auto`: by the size of the region."""
    tile_size: Annotated[int, Field(gt=0)] | None = None
    """Side of a tile in pixels; null: the model's input size."""
    tile_stride: Annotated[int, Field(gt=0)] | None = None
    """Pixels from one tile to the next; null: the tile size."""
    max_tiles: Annotated[int, Field(gt=0)] | None = None
    """Maximum number of tiles; more are an error."""
    pad_edges: bool = True
    """Pad regions that are smaller than one tile."""


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
