"""A client that knows an OpenAPI document, vitrivr's or our own, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import orjson
import pytest

from compat import openapi as other_apis
from geobento.config.settings import Settings
from server.openapi import document as openapi_document
from tests.compat.vitrivr_service import InventedServing, image, in_thread
from tests.conftest import SHARED

DOCUMENT = SHARED / "apis" / "vitrivr_openapi.json"
MODEL = "clip-vit-large-patch14"
TASKS = ("image-embedding", "text-embedding", "zero-shot-image-classification")
VALUES: dict[str, Any] = {"image": image(b"one"), "text": "two", "classes": ["a", "b"]}


class Client:
    """Calls operations by path and method; bodies and answers follow the document's schemas."""

    def __init__(self, http: httpx.Client, document: dict[str, Any]) -> None:
        self.document = document
        self._http = http

    def operations(self) -> Iterator[tuple[str, str]]:
        """Paths and methods of the base and legacy API, as far as they concern our tasks."""
        for path, methods in self.document["paths"].items():
            named = path.partition("/tasks/")[2].partition("/")[0]
            if path.startswith("/api/") and named in ("", "{task}", *TASKS):
                for method in methods:
                    yield path, method

    def call(self, path: str, method: str, status: int = 200, **parameters: str) -> Any:
        """The answer of an operation, which has to be of the schema for its status."""
        operation = self.document["paths"][path][method]
        assert {p["name"] for p in operation.get("parameters", [])} == set(parameters)
        body: Any = None
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            body = self._example(schema)
            if status == 200:
                self.check(body, schema)
        url = path.removeprefix("/api").format(**parameters)
        answer = self._http.request(method, url, json=body)
        assert answer.status_code == status, answer.text
        content = operation["responses"][str(status)]["content"]["application/json"]
        self.check(answer.json(), content["schema"])
        return answer.json()

    def check(self, value: Any, schema: dict[str, Any]) -> None:
        """Whether a value is what the document promises."""
        whole = {**schema, "components": self.document["components"]}
        jsonschema.validate(value, whole, jsonschema.Draft202012Validator)

    def _example(self, schema: dict[str, Any]) -> dict[str, Any]:
        name = schema["$ref"].rpartition("/")[2]
        properties = self.document["components"]["schemas"][name]["properties"]
        body: dict[str, Any] = {"config": {}} | {
            field: [VALUES[field]]
            if spec["type"] == "array" and isinstance(VALUES[field], str)
            else VALUES[field]
            for field, spec in properties.items()
            if field != "config"
        }
        return body

    def ended(self, path: str, job: str) -> Any:
        """The last answer about a job; every answer before it is checked, too."""
        deadline = time.monotonic() + 20
        while (result := self.call(path, "get", job=job))["status"] not in ("complete", "failed"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return result


@pytest.fixture(scope="module", params=["vitrivr", "ours"])
def document(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the client knows."""
    if request.param == "ours":
        return openapi_document.build_document("1.2.3", other_apis.operations())
    if not DOCUMENT.is_file():
        pytest.skip("vitrivr's document is not there")
    reference: dict[str, Any] = orjson.loads(DOCUMENT.read_bytes())
    return reference


@pytest.fixture(scope="module")
def client(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The client of a service."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("home"))
    with in_thread(settings, InventedServing()) as http:
        yield Client(http, document)


def test_every_operation_answers(client: Client) -> None:
    """All paths and methods of the document that concern our tasks are there, and as it says."""
    created: dict[str, str] = {}
    operations = list(client.operations())
    assert len(operations) == 7 + 5 * len(TASKS)
    for path, method in operations:
        names = {"task": TASKS[0], "model": MODEL}
        if not path.endswith("{job}"):
            given: dict[str, Any] = {
                name: value for name, value in names.items() if f"{{{name}}}" in path
            }
            answer = client.call(path, method, **given)
            if isinstance(answer, dict) and "id" in answer:
                created[path.replace("{model}/jobs", "jobs/{job}")] = answer["id"]
        if path.endswith("/stop"):
            client.call("/api/models/{model}/start", "post", model=MODEL)
    results = [path for path, _ in operations if path.endswith("{job}")]
    assert sorted(created) == sorted(results)
    for path in results:
        result = client.ended(path, created[path])
        assert result["status"] == "complete"
        assert result["result"]


def test_answers_on_the_way(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that waits, and one that fails, are answered as the document has it."""
    create, read = (f"/api/tasks/image-embedding/{end}" for end in ("{model}/jobs", "jobs/{job}"))
    for content, status in ((b"slow", "complete"), (b"bad", "failed")):
        monkeypatch.setitem(VALUES, "image", image(content))
        job = client.call(create, "post", model=MODEL)["id"]
        assert client.ended(read, job)["status"] == status


def test_bodies_that_do_not_validate(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their 422 is the document's."""
    monkeypatch.setitem(VALUES, "classes", [])
    client.call(
        "/api/tasks/zero-shot-image-classification/batched/{model}/jobs", "post", 422, model=MODEL
    )
