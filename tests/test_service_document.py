"""The OpenAPI document and the service say the same, over real HTTP."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx
import jsonschema
import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from compat import openapi as other_apis
from server.openapi import document
from tests.conftest import ROOT

DOCUMENT = document.build_document("1.2.3", other_apis.operations())
OPERATIONS = {
    operation["operationId"]: (method, path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
POSTS = [name for name, (method, _) in OPERATIONS.items() if method == "post"]
WITH_BODY = [
    name for name in POSTS if "requestBody" in DOCUMENT["paths"][OPERATIONS[name][1]]["post"]
]
WITH_PARAMETER = [name for name, (_, path) in OPERATIONS.items() if "{" in path]
NOT_FOR_CLIENTS = {"/favicon.ico", "/info", "/", "/docs.json", "/healthz", "/schema.json"}
"""The page, the document itself, and what BentoML has of its own."""
ROUTES = """
import json, service
found, left = [], list(service.svc.to_asgi().routes)
while left:
    route = left.pop()
    if hasattr(route, "methods"):
        found.append([route.path, sorted(route.methods - {"HEAD"})])
    elif route.name != "static_content":
        left += route.routes
print(json.dumps(found))
"""


def described(name: str) -> dict[str, Any]:
    """What the document says of an operation."""
    method, path = OPERATIONS[name]
    operation: dict[str, Any] = DOCUMENT["paths"][path][method]
    return operation


def filled(name: str, **values: str) -> str:
    """The path of an operation with the examples of its parameters, or other values."""
    parameters = described(name).get("parameters", [])
    examples = {p["name"]: p["example"] for p in parameters if p["in"] == "path"}
    path: str = OPERATIONS[name][1]
    return path.format(**{**examples, **values})


def body(name: str) -> Any:
    """The example of an operation's body, if it takes one."""
    if name not in WITH_BODY:
        return None
    schema = described(name)["requestBody"]["content"]["application/json"]["schema"]
    return DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["examples"][0]


def checked(name: str, answer: httpx.Response) -> Any:
    """The body of an answer, whose status and form have to be in the document."""
    responses = described(name)["responses"]
    assert str(answer.status_code) in responses, answer.text
    kind = answer.headers["content-type"].partition(";")[0]
    schema = responses[str(answer.status_code)]["content"][kind]["schema"]
    value = answer.json() if kind == "application/json" else answer.text
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema.validate(value, whole, jsonschema.Draft202012Validator)
    return value


def test_it_has_every_route_and_no_other(mosaiks_stored: object) -> None:
    """Each operation is answered by a route of the application, and each route by an operation."""
    done = subprocess.run([sys.executable, "-c", ROUTES], cwd=ROOT, capture_output=True, check=True)

    async def nothing(_: Request) -> Response:
        return Response()

    routes = [Route(path, nothing, methods=methods) for path, methods in orjson.loads(done.stdout)]
    answering = set()
    for name, (method, _) in OPERATIONS.items():
        scope = {"type": "http", "method": method.upper(), "path": filled(name)}
        result = [route.path for route in routes if route.matches(scope)[0] is Match.FULL]
        assert result, name
        answering.update(result)
    assert {route.path for route in routes} - answering == NOT_FOR_CLIENTS


def test_it_is_what_the_service_shows(small_service: httpx.Client) -> None:
    """The live document is the one that these tests read, but for the version."""
    shown = small_service.get("/docs.json").json()
    shown["info"]["version"] = DOCUMENT["info"]["version"]
    assert shown == DOCUMENT


@pytest.mark.parametrize(
    "name", [name for name in OPERATIONS if "{job}" not in OPERATIONS[name][1]]
)
def test_examples_are_answered(small_service: httpx.Client, name: str) -> None:
    """The example of every operation gives 200, and what the document says; so does its job."""
    method, _ = OPERATIONS[name]
    result = checked(name, answer := small_service.request(method, filled(name), json=body(name)))
    assert answer.status_code == 200, answer.text
    if "_new_" in name:
        job = name.replace("_new_", "_")
        answer = small_service.get(filled(job, job=result["id"]))
        assert checked(job, answer)["status"] != "failed"
        assert answer.status_code == 200
    if name == "vitrivr_stop_model":
        started = small_service.post(filled("vitrivr_start_model"))
        assert checked("vitrivr_start_model", started)["status"] == "running"


@pytest.mark.parametrize("name", WITH_PARAMETER)
def test_unknown_models_tasks_and_jobs(small_service: httpx.Client, name: str) -> None:
    """Another model, task or job is 404, in the form that the document has for it."""
    method, path = OPERATIONS[name]
    which = path.partition("{")[2].partition("}")[0]
    answer = small_service.request(method, filled(name, **{which: "nope"}), json=body(name))
    checked(name, answer)
    assert answer.status_code == 404


@pytest.mark.parametrize("name", WITH_BODY)
@pytest.mark.parametrize("content", [b"[]", b"{", b"{}", b'{"colour": "red"}', b"\xff", b""])
def test_bodies_that_are_wrong(small_service: httpx.Client, name: str, content: bytes) -> None:
    """Anything that is no request is refused in the form that the document has for it."""
    headers = {"content-type": "application/json"}
    answer = small_service.post(filled(name), content=content, headers=headers)
    checked(name, answer)
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("name", WITH_BODY)
def test_bodies_in_another_format(small_service: httpx.Client, name: str) -> None:
    """Text is refused, where the format counts at all."""
    headers = {"content-type": "text/plain"}
    answer = small_service.post(filled(name), content=b"hello", headers=headers)
    checked(name, answer)
    assert answer.status_code == (422 if name.startswith("vitrivr") else 415)
