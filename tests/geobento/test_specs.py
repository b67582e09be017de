"""Places, windows, sensors and outputs."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pyproj import Geod

from geobento.specs import (
    BBox,
    FetchSpec,
    InputPrep,
    InputPrepSpec,
    Output,
    OutputGrid,
    OutputPooled,
    OutputSpec,
    PointBuffer,
    SensorSpec,
    Spatial,
    Temporal,
    TemporalSpec,
    ground_size_m,
)

lon, lat = st.floats(-180, 180), st.floats(-90, 90)
instants = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def round_trip(kind: Any, value: object) -> object:
    """Through JSON and back."""
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    return adapter.validate_json(adapter.dump_json(value))


@given(lon, lat, st.floats(0.001, 500_000))
def test_points_survive_json(x: float, y: float, buffer_m: float) -> None:
    """A place comes back from JSON as it went in."""
    place = PointBuffer(x, y, buffer_m)
    assert round_trip(Spatial, place) == place


@given(lon, lon, lat, lat)
def test_boxes_survive_json_or_are_refused(x: float, other_x: float, y: float, z: float) -> None:
    """A box has west before east and south before north, or does not exist."""
    if x < other_x and y < z:
        box = BBox(x, y, other_x, z)
        assert round_trip(Spatial, box) == box
    else:
        with pytest.raises(ValidationError, match="must be less than"):
            BBox(x, y, other_x, z)


@given(instants, instants)
def test_windows_survive_json_or_are_refused(start: datetime, end: datetime) -> None:
    """A window ends after it starts, or does not exist."""
    if start < end:
        window = TemporalSpec.range(start, end)
        assert round_trip(Temporal, window) == window
        assert window.window == (start, end)
    else:
        with pytest.raises(ValidationError, match="must be after start"):
            TemporalSpec.range(start, end)


@pytest.mark.parametrize(
    "value",
    [
        "2023-06-01",
        "2023-06-01T00:00:00Z",
        "2023-06-01T02:00:00+02:00",
        date(2023, 6, 1),
        datetime(2023, 6, 1),
        datetime(2023, 6, 1, 2, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_all_ways_to_say_a_time(value: str | date | datetime) -> None:
    """Dates are midnights, times without a zone are UTC, others are converted."""
    start = TemporalSpec.range(value, "2024-01-01").start
    assert start == datetime(2023, 6, 1, tzinfo=UTC)
    assert start.utcoffset() == timedelta(0)


def test_a_year_is_half_open() -> None:
    """From its first instant to the first of the next."""
    start, end = TemporalSpec.year(2022).window
    assert (start, end) == (datetime(2022, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC))
    assert round_trip(Temporal, TemporalSpec.year(2022)) == TemporalSpec.year(2022)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Spatial, {"type": "PointBuffer", "lon": 0, "lat": 95, "buffer_m": 1}),
        (Spatial, {"type": "PointBuffer", "lon": 0, "lat": 0, "buffer_m": 0}),
        (Spatial, {"type": "PointBuffer", "lon": float("nan"), "lat": 0, "buffer_m": 1}),
        (Spatial, {"type": "PointBuffer", "lon": 0, "lat": 0, "buffer_m": 1, "crs": "EPSG:3857"}),
        (Spatial, {"type": "PointBuffer", "lon": 0, "lat": 0, "buffer_m": 1, "radius": 2}),
        (Spatial, {"lon": 0, "lat": 0, "buffer_m": 1}),
        (Temporal, {"mode": "range", "start": "yesterday", "end": "2023-01-01"}),
        (Temporal, {"mode": "range", "start": 1672531200, "end": "2023-01-01"}),
        (Temporal, {"mode": "year", "year": 1900}),
        (Output, {"mode": "pooled", "pooling": "median"}),
        (SensorSpec, {"collection": "", "bands": ["B1"]}),
        (SensorSpec, {"collection": "a", "bands": []}),
        (FetchSpec, {"scale_m": 0}),
        (FetchSpec, {"cloudy_pct": 101}),
        (InputPrep, "crop"),
    ],
)
def test_what_does_not_fit_is_refused(kind: Any, value: object) -> None:
    """Out of range, misspelt, not a number, unknown keys, missing tags."""
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


def test_specs_cannot_be_changed() -> None:
    """A plan that holds a spec can rely on it."""
    with pytest.raises(FrozenInstanceError):
        PointBuffer(0, 0, 1).lon = 3  # type: ignore[misc]


def test_outputs_and_preparation() -> None:
    """The factories, the tags, and the string form of the preparation."""
    assert OutputSpec.pooled() == OutputPooled("authors")
    assert OutputSpec.grid() == OutputGrid("north_up")
    assert round_trip(Output, OutputSpec.grid("native")) == OutputSpec.grid("native")
    assert TypeAdapter(InputPrep).validate_python("auto") == InputPrepSpec("auto")


@given(st.floats(-170, 170), st.floats(-75, 75), st.floats(0.01, 1), st.floats(0.01, 1))
def test_ground_size(x: float, y: float, width: float, height: float) -> None:
    """The estimate that guards against huge places is right to 1 percent."""
    box = BBox(x, y, x + width, y + height)
    geod = Geod(ellps="WGS84")
    middle = y + height / 2
    across = geod.inv(x, middle, x + width, middle)[2]
    up = geod.inv(x, y, x, y + height)[2]
    assert ground_size_m(box) == pytest.approx((across, up), rel=0.01)


@pytest.mark.parametrize(
    ("by_position", "by_name"),
    [
        (PointBuffer(121.5, 31.2, 2048), PointBuffer(lon=121.5, lat=31.2, buffer_m=2048)),
        (BBox(1, 2, 3, 4), BBox(minlon=1, minlat=2, maxlon=3, maxlat=4)),
        (
            SensorSpec("a", ("B2", "B1"), 20, None),
            SensorSpec(collection="a", bands=("B2", "B1"), scale_m=20, cloudy_pct=None),
        ),
        (FetchSpec(20, 5), FetchSpec(scale_m=20, cloudy_pct=5)),
        (InputPrepSpec("tile", 64, 32), InputPrepSpec(mode="tile", tile_size=64, tile_stride=32)),
        (OutputPooled("max"), OutputPooled(pooling="max")),
    ],
    ids=lambda spec: type(spec).__name__,
)
def test_arguments_by_position(by_position: object, by_name: object) -> None:
    """The order of the arguments is part of the contract; all are frozen, all survive JSON."""
    assert by_position == by_name
    assert round_trip(type(by_position), by_position) == by_position
    name = next(iter(vars(by_position)))
    with pytest.raises(FrozenInstanceError):
        setattr(by_position, name, getattr(by_position, name))


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (
            Spatial,
            PointBuffer(1, 2, 3),
            '{"lon":1.0,"lat":2.0,"buffer_m":3.0,"crs":"EPSG:4326","type":"PointBuffer"}',
        ),
        (
            Temporal,
            TemporalSpec.range("2023-06-01", datetime(2023, 6, 2, 10, 30)),
            '{"start":"2023-06-01","end":"2023-06-02T10:30:00Z","mode":"range"}',
        ),
        (Temporal, TemporalSpec.year(2022), '{"year":2022,"mode":"year"}'),
        (Output, OutputSpec.pooled("max"), '{"pooling":"max","mode":"pooled"}'),
    ],
)
def test_how_specs_are_written(kind: Any, value: object, text: str) -> None:
    """The tag is written, whole days are dates, other times are UTC with a Z."""
    assert TypeAdapter(kind).dump_json(value).decode() == text


@pytest.mark.parametrize("buffer_m", [0, -1, 500_001, float("inf"), float("nan")])
def test_the_size_of_a_place_is_bounded(buffer_m: float) -> None:
    """A buffer is a positive, finite number of metres and no continent."""
    with pytest.raises(ValidationError):
        PointBuffer(0, 0, buffer_m)


def test_the_ground_size_of_a_square() -> None:
    """The buffer goes to both sides of the point, wherever it lies."""
    assert ground_size_m(PointBuffer(10, 80, 250)) == (500, 500)
