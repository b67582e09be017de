"""Null for an absent value."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field

from geobento.schemas import records, requests
from geobento.schemas.errors import GeoBentoError
from geobento.schemas.nulls import accepts_null
from geobento.schemas.records import RequestRecord
from geobento.schemas.requests import (
    GeoEmbeddingRequest,
    ImageEmbeddingRequest,
    InspectRequest,
    PixelEmbeddingRequest,
    TextEmbeddingRequest,
    ZeroShotRequest,
)
from geobento.schemas.validation import validate, validate_json

REGION = {"type": "PointBuffer", "lon": 1, "lat": 2, "buffer_m": 500}
SMALLEST: dict[type[RequestRecord], dict[str, Any]] = {
    ImageEmbeddingRequest: {"model": "m", "images": ["x"]},
    TextEmbeddingRequest: {"model": "m", "texts": ["x"]},
    ZeroShotRequest: {"model": "m", "images": ["x"], "classes": ["y"]},
    GeoEmbeddingRequest: {"model": "m", "spatial": REGION},
    PixelEmbeddingRequest: {"model": "m", "pixels": b"x"},
    InspectRequest: {"model": "m", "spatial": REGION},
}


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (int, False),
        (int | None, True),
        (Annotated[int | None, Field(gt=0)], True),
        (Annotated[int, Field(gt=0)] | str, False),
        (Any, True),
        (None, True),
        (list[None], False),
    ],
)
def test_types_that_take_null(annotation: Any, expected: bool) -> None:
    """Unions with None, however they are written."""
    assert accepts_null(annotation) is expected


def test_every_request_is_listed() -> None:
    """A new request joins the test below."""
    types = {
        value
        for value in vars(requests).values()
        if isinstance(value, type) and issubclass(value, RequestRecord)
    }
    assert types - {records.RequestRecord} == set(SMALLEST)


@pytest.mark.parametrize("request_type", SMALLEST, ids=lambda cls: cls.__name__)
def test_null_is_absent_for_every_optional_parameter(request_type: type[RequestRecord]) -> None:
    """Clients of generators send null for all that is not set."""
    smallest = SMALLEST[request_type]
    optional = {
        info.alias or name: None
        for name, info in request_type.model_fields.items()
        if not info.is_required()
    }
    assert validate(request_type, {**optional, **smallest}) == validate(request_type, smallest)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": null, "images": ["x"]}',
        b'{"model": "m", "images": null}',
        b'{"model": "m", "images": ["x"], "misspelt": null}',
    ],
)
def test_null_is_no_value_of_required_and_unknown_parameters(body: bytes) -> None:
    """They are errors as before."""
    with pytest.raises(GeoBentoError):
        validate_json(ImageEmbeddingRequest, body)


def test_null_in_specs() -> None:
    """Absent, unless null has a meaning: no limit of the cloud cover."""
    sensor = {"collection": "C", "bands": ["B4"], "scale_m": None, "cloudy_pct": None}
    output = {"mode": "pooled", "pooling": None}
    request = validate(
        GeoEmbeddingRequest,
        {**SMALLEST[GeoEmbeddingRequest], "sensor": sensor, "output": output},
    )
    assert request.sensor is not None
    assert (request.sensor.scale_m, request.sensor.cloudy_pct) == (10, None)
    assert request.output.mode == "pooled"
