"""Routes that take a record and answer with another, over real HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette

from geobento.schemas.errors import NoImageryError, Overloaded
from server import app as server_app
from server.middleware.admission import AdmissionMiddleware
from server.middleware.request_context import RequestContextMiddleware
from tests.servers import free_port


class Question(BaseModel):
    """What is asked."""

    model_config = ConfigDict(extra="forbid")

    number: int


class Reply(BaseModel):
    """What is answered."""

    twice: int
    note: str | None = None


async def work(question: Question) -> Reply:
    """Twice the number; some numbers are special."""
    match question.number:
        case 404:
            raise NoImageryError("nothing there", field="number", detail={"scenes": 0})
        case 503:
            raise Overloaded("later", retry_after=2.4)
        case 500:
            raise RuntimeError("/secret/path")
        case 504:
            await asyncio.sleep(30)
    return Reply(twice=2 * question.number)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A client of a server with one such route, behind the admission limits."""
    inner = Starlette(routes=[server_app.post_route("/twice", Question, work, timeout_s=0.5)])
    port = free_port()
    app = RequestContextMiddleware(
        AdmissionMiddleware(inner, max_body_mb=0.001, max_concurrent_requests=10)
    )
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as made:
        yield made
    server.should_exit = True
    thread.join()


def test_an_answer(client: httpx.Client) -> None:
    """The record as JSON, what is null included."""
    answer = client.post("/twice", json={"number": 21})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"twice": 42, "note": None}


@pytest.mark.parametrize(
    ("sent", "status", "kind", "field"),
    [
        ({"json": {}}, 400, "invalid_request", "number"),
        ({"json": {"number": "many"}}, 400, "invalid_request", "number"),
        ({"json": {"number": 1, "colour": "red"}}, 400, "invalid_request", "colour"),
        ({"json": []}, 400, "invalid_request", None),
        ({"content": b"{"}, 400, "invalid_request", None),
        ({"content": b""}, 400, "invalid_request", "number"),
        ({"data": {"number": "1"}}, 415, "unsupported_media_type", None),
        ({"files": {"number": b"1"}}, 415, "unsupported_media_type", None),
        ({"content": b" " * 5000}, 413, "payload_too_large", None),
        ({"json": {"number": 404}}, 422, "no_imagery", "number"),
        ({"json": {"number": 503}}, 503, "overloaded", None),
        ({"json": {"number": 500}}, 500, "internal_error", None),
        ({"json": {"number": 504}}, 504, "deadline_exceeded", None),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_failures(
    client: httpx.Client, sent: dict[str, Any], status: int, kind: str, field: str | None
) -> None:
    """Every way to fail has its status, the one error shape, and no secret."""
    answer = client.post("/twice", **sent)
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body["error"]) == {"type", "message", "field", "detail"}
    assert (body["error"]["type"], body["error"]["field"]) == (kind, field)
    assert "secret" not in answer.text
    assert answer.headers.get("retry-after") == ("3" if status == 503 else None)


def test_it_answers_no_other_method(client: httpx.Client) -> None:
    """GET is 405 and says what is there instead."""
    answer = client.get("/twice")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json()["error"]["type"] == "method_not_allowed"
