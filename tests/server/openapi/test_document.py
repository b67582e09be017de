"""The OpenAPI document."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate

from compat import openapi as other_apis
from server.openapi.document import build_document

DOCUMENT = build_document("1.2.3", other_apis.operations())
OPERATIONS = [
    pytest.param(operation, id=operation["operationId"])
    for path in DOCUMENT["paths"].values()
    for operation in path.values()
]


def check(value: Any, schema: dict[str, Any]) -> None:
    """Whether a value is of a schema of the document."""
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema.validate(value, whole, jsonschema.Draft202012Validator)


def test_it_is_valid() -> None:
    """Generators of clients accept it, with and without the other APIs."""
    validate(DOCUMENT)
    validate(build_document("1.2.3"))


def test_operations_have_distinct_names() -> None:
    """They become the names of functions in generated clients."""
    names = [operation.id for operation in OPERATIONS]
    assert len(set(names)) == len(names) == 11 + 3 + 7 + 5 * 3


@pytest.mark.parametrize("operation", OPERATIONS)
def test_its_examples_are_of_their_type(operation: dict[str, Any]) -> None:
    """What the page shows is what the service answers."""
    for status, answer in operation["responses"].items():
        for content in answer["content"].values():
            assert status == "200" or "example" in content
            if "example" in content:
                check(content["example"], content["schema"])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_says_that_the_service_may_be_busy(operation: dict[str, Any]) -> None:
    """All but the probes can be refused; bodies can be too large."""
    statuses = set(operation["responses"])
    if operation["operationId"] not in ("livez", "metrics"):
        assert "503" in statuses
    if "requestBody" in operation:
        assert {"400", "413", "500", "504"} <= statuses


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_types_say_what_they_are(name: str) -> None:
    """Descriptions become those of generated classes."""
    assert DOCUMENT["components"]["schemas"][name].get("description")


def test_examples_of_requests_are_of_their_type() -> None:
    """They are what the page sends when somebody tries an operation."""
    result = 0
    for schema in DOCUMENT["components"]["schemas"].values():
        for example in schema.get("examples", []):
            check(example, schema)
            result += 1
    assert result >= 5


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


def test_all_forms_of_an_image() -> None:
    """JSON, multipart with repeated binary files, and a bare image."""
    body = DOCUMENT["paths"]["/image_embedding"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data", "image/*"}
    form = body["multipart/form-data"]["schema"]["$ref"].rpartition("/")[2]
    files = DOCUMENT["components"]["schemas"][form]["properties"]["images"]
    assert files["items"] == {"type": "string", "format": "binary"}


def test_a_result_that_is_not_there_is_left_out() -> None:
    """Clients generated from the document do not meet null where vitrivr's has none."""
    schemas = DOCUMENT["components"]["schemas"]
    for name in ("JobResponseTextEmbeddingOutput", "BatchedJobResponseImageEmbeddingOutput"):
        assert schemas[name]["required"] == ["status"]
        with pytest.raises(jsonschema.ValidationError):
            check({"status": "running", "result": None}, schemas[name])
        check({"status": "running"}, schemas[name])
