"""From pydantic's findings to one error that a caller can act on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from geobento.schemas.errors import InvalidRequest, SpecError
from geobento.schemas.requests import GeoEmbeddingRequest, ImageEmbeddingRequest
from geobento.schemas.validation import validate, validate_json

REGION = {"type": "PointBuffer", "lon": 1, "lat": 2, "buffer_m": 3}
BOX = {"type": "BBox", "minlon": 1, "minlat": 2, "maxlon": 3, "maxlat": 4}
RANGE = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}


def problem(cls: Any = GeoEmbeddingRequest, **fields: Any) -> InvalidRequest:
    """The error that a request with these fields gets."""
    smallest: Mapping[str, Any] = (
        {"model": "m", "spatial": REGION}
        if cls is GeoEmbeddingRequest
        else {"model": "m", "images": ["aa"]}
    )
    with pytest.raises(InvalidRequest) as caught:
        validate(cls, {**smallest, **fields})
    return caught.value


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        (
            {"spatial": {**BOX, "maxlat": 91}},
            "spatial.maxlat",
            "91 is not a latitude; accepted: -90 to 90",
        ),
        ({"spatial": {**BOX, "maxlon": 1}}, "spatial", "must be less than maxlon"),
        ({"spatial": {**BOX, "crs": ""}}, "spatial.crs", "at least 1 character"),
        ({"spatial": {**REGION, "lon": float("nan")}}, "spatial.lon", "finite"),
        ({"spatial": {"type": "Circle"}}, "spatial", "'Circle' is not known; accepted: 'Point"),
        ({"temporal": {"mode": "year", "year": 1900}}, "temporal.year", "1972"),
        ({"temporal": {"mode": "year"}}, "temporal.year", "required"),
        ({"temporal": {**RANGE, "end": "2023-06-01"}}, "temporal", "must be after start"),
        ({"temporal": {**RANGE, "start": "June"}}, "temporal.start", "'June' is not a date"),
        ({"output": {"mode": "grid", "grid_orientation": "up"}}, "output.grid_orientation", "'n"),
        ({"input_prep": {"max_tiles": 0}}, "input_prep.max_tiles", "greater than 0"),
        ({"fetch": {"scale_m": -1}}, "fetch.scale_m", "greater than 0"),
        ({"model_config": 5}, "model_config", "dictionary"),
        ({"config": {}}, "config", "no such parameter"),
    ],
)
def test_one_problem(fields: dict[str, Any], field: str, message: str) -> None:
    """The field at fault as the caller wrote it, and what is wrong in the caller's words."""
    result = problem(**fields)
    assert result.field == field
    assert message in result.message
    assert result.message.startswith(f"{field}: ")
    assert "Value error" not in result.message


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"spatial": {**REGION, "lat": 95}}, SpecError),
        ({"spatial": None, "spatials": []}, SpecError),
        ({"temporal": {"mode": "year"}}, SpecError),
        ({"sensor": {}}, SpecError),
        ({"fetch": {"scale_m": -1}}, SpecError),
        ({"output": {"mode": "cube"}}, SpecError),
        ({"input_prep": "crop"}, SpecError),
        ({"backend": "cloud"}, InvalidRequest),
        ({"colour": "red"}, InvalidRequest),
    ],
)
def test_errors_of_specs(fields: dict[str, Any], kind: type[InvalidRequest]) -> None:
    """The values of specs fail as specs do; other parameters as parameters."""
    assert type(problem(**fields)) is kind


def test_a_single_problem_has_no_list() -> None:
    """The detail lists several problems; a single one is in the message alone."""
    result = problem(encoding="hex")
    assert result.detail is None
    assert "more)" not in result.message


def test_regions_of_a_list_are_counted() -> None:
    """Of several bad regions each is named by its position in the request."""
    regions = [REGION, {**REGION, "lat": 95}, {**BOX, "minlat": -95}]
    result = problem(spatial=None, spatials=regions)
    assert result.field == "spatials.1.lat"
    assert [entry["field"] for entry in result.detail] == ["spatials.1.lat", "spatials.2.minlat"]


def test_errors_of_the_whole_request_have_no_field() -> None:
    """Two parameters that exclude each other are the fault of neither alone."""
    result = problem(spatials=[REGION])
    assert result.field is None
    assert result.message.startswith("exactly one of")


@pytest.mark.parametrize("missing", ["model", "images"])
def test_a_missing_parameter(missing: str) -> None:
    """What is required is said by name."""
    body = {key: value for key, value in {"model": "m", "images": ["a"]}.items() if key != missing}
    with pytest.raises(InvalidRequest, match=f"^{missing}: this parameter is required$"):
        validate(ImageEmbeddingRequest, body)


def test_options_of_the_model_are_not_ours() -> None:
    """What stands inside `model_config` is checked against the card and not here."""
    request = validate(
        GeoEmbeddingRequest, {"model": "m", "spatial": REGION, "model_config": {"x": {"y": [1]}}}
    )
    assert request.config == {"x": {"y": [1]}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not valid JSON"),
        (b'{"model": NaN}', "string"),
        (b"[" * 100_000, "recursion limit"),
        (b"\xff", "the body is not valid JSON"),
        (b"null", "object"),
    ],
)
def test_json_text(body: bytes, message: str) -> None:
    """Text that is no JSON object is the caller's mistake, however strange."""
    with pytest.raises(InvalidRequest, match=message):
        validate_json(ImageEmbeddingRequest, body)


@pytest.mark.parametrize("name", ["grid", "year", "range", "input-prep"])
def test_an_unknown_parameter_is_named(name: str) -> None:
    """Whoever misspells a parameter learns which one, whatever it is called."""
    result = problem(**{name: True})
    assert result.field == name


def test_an_image_that_is_no_text() -> None:
    """The path leads to the image and not into the union of its types."""
    result = problem(ImageEmbeddingRequest, images=["aa", 5])
    assert result.field == "images.1"


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_times_at_the_ends_of_the_calendar(time: str) -> None:
    """A time that has no UTC equivalent is the caller's mistake and no crash."""
    edge = "end" if time.startswith("9") else "start"
    assert problem(temporal={**RANGE, edge: time}).field == f"temporal.{edge}"


POINT = {"type": "PointBuffer", "lon": 1, "lat": 2, "buffer_m": 5}


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"spatail": POINT}, "spatail", "did you mean 'spatial'"),
        ({"spatial": {**POINT, "bufer_m": 3}}, "spatial.bufer_m", "did you mean 'buffer_m'"),
        (
            {"spatial": POINT, "sensor": {"collection": "x", "band": ["a"]}},
            "sensor.band",
            "did you mean 'bands'",
        ),
        ({"spatial": POINT, "output": "grid"}, "output", 'for instance {"mode": "grid"}'),
        ({"spatial": POINT, "output": {"grid": 1}}, "output", 'for instance {"mode": "grid"}'),
        ({"spatial": POINT, "temporal": "2023"}, "temporal", '{"mode": "range", "start"'),
        ({"spatial": {"lon": 1, "lat": 2}}, "spatial", 'for instance {"type": "PointBuffer"'),
        ({"spatials": [{"lon": 1}]}, "spatials.0", 'for instance {"type": "PointBuffer"'),
        ({"spatial": POINT, "colour": "red"}, "colour", "there is no such parameter"),
    ],
)
def test_messages_suggest_names(fields: dict[str, Any], field: str, message: str) -> None:
    """A misspelt name is the first problem, though it makes another parameter missing, too."""
    with pytest.raises(InvalidRequest) as caught:
        validate(GeoEmbeddingRequest, {"model": "mosaiks", **fields})
    assert caught.value.field == field
    assert message in caught.value.message
