"""The OpenAPI document."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import validate
from pydantic import BaseModel

from edge.openapi import document
from geobento.requests import EmbeddingResponse, ErrorBody, ZeroShotResponse

DOCUMENT = document("what it is", "1.2.3")
OPERATIONS = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]


def test_it_is_valid() -> None:
    """Generators of clients accept it."""
    validate(DOCUMENT)


def test_operations_have_distinct_names() -> None:
    """They become the names of functions in generated clients."""
    names = [operation["operationId"] for operation in OPERATIONS]
    assert len(set(names)) == len(names) == 9


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation["operationId"])
def test_its_examples_are_of_their_type(operation: dict[str, Any]) -> None:
    """What the page shows is what the service answers."""
    types: dict[str, type[BaseModel]] = {
        cls.__name__: cls for cls in (EmbeddingResponse, ZeroShotResponse, ErrorBody)
    }
    for status, answer in operation["responses"].items():
        for content in answer["content"].values():
            if "example" in content:
                types[content["schema"]["$ref"].rpartition("/")[2]].model_validate(
                    content["example"]
                )
            assert status == "200" or content["example"]["error"]["type"]


def test_the_form_with_pixels() -> None:
    """A binary file; names of bands and other lists as JSON, words as they are."""
    body = DOCUMENT["paths"]["/geo_embedding"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    form = body["multipart/form-data"]
    schema = DOCUMENT["components"]["schemas"][form["schema"]["$ref"].rpartition("/")[2]]
    assert schema["properties"]["pixels"]["format"] == "binary"
    assert schema["required"] == ["model", "pixels"]
    assert set(form["encoding"]) >= {"bands", "transform", "times", "nodata", "model_config"}
    assert set(form["encoding"]).isdisjoint({"model", "pixels", "units", "crs", "modality"})
    assert {one["contentType"] for one in form["encoding"].values()} == {"application/json"}


def test_all_forms_of_a_picture() -> None:
    """JSON, multipart with repeated binary files, and a bare picture."""
    body = DOCUMENT["paths"]["/image_embedding"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data", "image/*"}
    files = body["multipart/form-data"]["schema"]["properties"]["images"]
    assert files["items"] == {"type": "string", "format": "binary"}
