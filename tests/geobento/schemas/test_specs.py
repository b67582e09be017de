"""Windows, sensors, outputs, and what all specs have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from geobento.schemas.errors import SpecError
from geobento.schemas.specs import (
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
)

lat_of_nothing = float("nan")
instants = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def round_trip(kind: Any, value: object) -> object:
    """Through JSON and back."""
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    return adapter.validate_json(adapter.dump_json(value))


@given(instants, instants)
def test_windows_survive_json_or_are_refused(start: datetime, end: datetime) -> None:
    """A window ends after it starts, or does not exist."""
    if start < end:
        window = TemporalSpec.range(start, end)
        assert round_trip(Temporal, window) == window
        assert window.window == (start, end)
    else:
        with pytest.raises(SpecError, match="must be after start"):
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
def test_invalid_values_are_rejected(kind: Any, value: object) -> None:
    """Out of range, misspelt, not a number, unknown keys, missing tags."""
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


def test_specs_cannot_be_changed() -> None:
    """A plan that holds a spec can rely on it."""
    with pytest.raises(FrozenInstanceError):
        PointBuffer(0, 0, 1).lon = 3  # type: ignore[misc]


def test_outputs_and_preparation() -> None:
    """The factories, the tags, and the string form of the preparation."""
    assert OutputSpec.pooled() == OutputPooled("native")
    assert OutputSpec.grid() == OutputGrid("north_up")
    assert round_trip(Output, OutputSpec.grid("native")) == OutputSpec.grid("native")
    assert TypeAdapter(InputPrep).validate_python("auto") == InputPrepSpec("auto")


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


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: PointBuffer(0, 95, 1), "lat"),
        (lambda: BBox(0, 0, 1, lat_of_nothing), "maxlat"),
        (lambda: TemporalSpec.year(1900), "year"),
        (lambda: TemporalSpec.range("2023-01-01", "soon"), "end"),
        (lambda: SensorSpec("a", ()), "bands"),
        (lambda: SensorSpec("a", ("B1",), -1), "scale_m"),
        (lambda: FetchSpec(cloudy_pct=101), "cloudy_pct"),
        (lambda: OutputSpec.pooled("median"), "pooling"),  # type: ignore[arg-type]
        (lambda: InputPrepSpec("crop"), "mode"),  # type: ignore[arg-type]
        (lambda: replace(FetchSpec(20), scale_m=0), "scale_m"),
    ],
)
def test_values_that_do_not_fit(make: Callable[[], object], field: str) -> None:
    """Whoever makes a spec gets a SpecError that names the field, also by position."""
    with pytest.raises(SpecError) as caught:
        make()
    assert caught.value.field == field


def test_calls_that_do_not_fit() -> None:
    """A wrong call is a TypeError, as for any function."""
    with pytest.raises(TypeError):
        PointBuffer(0, 0)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        FetchSpec(radius=3)  # type: ignore[call-arg]
