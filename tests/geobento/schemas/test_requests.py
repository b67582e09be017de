"""Requests as they are read."""

from __future__ import annotations

from typing import Any

import pytest

from geobento.schemas.errors import InvalidRequest
from geobento.schemas.requests import GeoEmbeddingRequest, ImageEmbeddingRequest
from geobento.schemas.specs import InputPrepSpec, OutputSpec, PointBuffer
from geobento.schemas.validation import validate, validate_json

REGION = {"type": "PointBuffer", "lon": 1, "lat": 2, "buffer_m": 3}


def problem(**fields: Any) -> InvalidRequest:
    """The error that a geo request with these fields gets."""
    with pytest.raises(InvalidRequest) as caught:
        validate(GeoEmbeddingRequest, {"model": "m", "spatial": REGION, **fields})
    return caught.value


def test_defaults() -> None:
    """The smallest request: everything else is as the model has it."""
    request = validate(GeoEmbeddingRequest, {"model": "m", "spatial": REGION})
    assert request.regions == [PointBuffer(1, 2, 3)]
    assert request.output == OutputSpec.pooled()
    assert request.input_prep == InputPrepSpec("resize")
    assert (request.backend, request.device, request.encoding) == ("auto", "auto", "float")


def test_model_config_keeps_its_name_on_the_wire() -> None:
    """Read as `model_config`, written as `model_config`."""
    body = {"model": "m", "spatial": REGION, "model_config": {"variant": "large"}}
    request = validate(GeoEmbeddingRequest, body)
    assert request.config == {"variant": "large"}
    assert request.model_dump(by_alias=True)["model_config"] == {"variant": "large"}


@pytest.mark.parametrize("fields", [{"spatial": None}, {"spatials": [REGION]}])
def test_exactly_one_way_to_name_regions(fields: dict[str, Any]) -> None:
    """None and both are refused."""
    assert "exactly one of" in problem(**fields).message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"spatial": {**REGION, "lat": 95}}, "spatial.lat"),
        ({"spatial": None, "spatials": [REGION, {**REGION, "buffer_m": 0}]}, "spatials.1.buffer_m"),
        ({"temporal": {"mode": "year", "year": 1}}, "temporal.year"),
        ({"temporal": {"mode": "range", "start": "x", "end": "2023-01-01"}}, "temporal.start"),
        ({"output": {"mode": "pooled", "pooling": "sum"}}, "output.pooling"),
        ({"input_prep": {"mode": "tile", "tile_size": 0}}, "input_prep.tile_size"),
        ({"sensor": {"collection": "a", "bands": "B1"}}, "sensor.bands"),
        ({"encoding": "hex"}, "encoding"),
        ({"colour": 1}, "colour"),
    ],
)
def test_the_field_at_fault_is_named(fields: dict[str, Any], field: str) -> None:
    """The path is that of the request, without the names of union members."""
    result = problem(**fields)
    assert result.field == field
    assert result.message.startswith(f"{field}: ")


def test_several_problems_are_all_listed() -> None:
    """The first is the message, all are the detail."""
    result = problem(spatial={**REGION, "lat": "x", "lon": "y"}, encoding="hex")
    assert "(and 2 more)" in result.message
    assert {entry["field"] for entry in result.detail} == {"spatial.lat", "spatial.lon", "encoding"}


def test_text_that_is_not_json() -> None:
    """The position of the error is kept, the parser's jargon is not."""
    with pytest.raises(InvalidRequest, match="the body is not valid JSON"):
        validate_json(GeoEmbeddingRequest, b'{"model": ')


@pytest.mark.parametrize("cls", [GeoEmbeddingRequest, ImageEmbeddingRequest])
def test_the_examples_are_valid_and_every_field_is_described(cls: Any) -> None:
    """What the documentation shows can be sent."""
    schema = cls.model_json_schema()
    for example in schema["examples"]:
        validate(cls, example)
    assert all(field.get("description") for field in schema["properties"].values())


@pytest.mark.parametrize(
    "fields", [{"colour": 1}, {"model_config": {}}, {"images": []}, {"encoding": "hex"}]
)
def test_image_requests_are_strict(fields: dict[str, Any]) -> None:
    """Unknown parameters, the options under the other route's name, and no image at all."""
    with pytest.raises(InvalidRequest) as caught:
        validate(ImageEmbeddingRequest, {"model": "m", "images": ["aa"], **fields})
    assert caught.value.field == next(iter(fields))


def test_image_defaults() -> None:
    """Nothing but model and images is needed; the card decides on the length."""
    request = validate(ImageEmbeddingRequest, {"model": "m", "images": ["aa", b"bb"]})
    assert request.images == ["aa", b"bb"]
    assert (request.normalize, request.encoding, request.config) == (None, "float", {})


def test_an_empty_list_of_regions_is_refused() -> None:
    """No region is not a region."""
    assert problem(spatial=None, spatials=[]).field == "spatials"


def test_the_example_image_can_be_decoded() -> None:
    """What the documentation sends can be decoded, and is large enough for a model."""
    from pipeline.inputs.images import decode_image, decode_payload

    (example,) = ImageEmbeddingRequest.model_json_schema()["examples"]
    assert decode_image(decode_payload(example["images"][0]), 1).size == (8, 8)
