"""The outermost layer."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from geobento.observability import request_context
from geobento.schemas.errors import NoImageryError
from server.logging import JSONFormatter
from server.middleware.request_context import RequestContextMiddleware
from server.responses import error_response
from tests.server.middleware.test_admission import ask, client


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/echo", 405, "method_not_allowed"),
        ("GET", "/text", 500, "internal_error"),
        ("GET", "/teapot", 400, "invalid_request"),
        ("GET", "/readyz", 503, "overloaded"),
        ("POST", "/readyz", 405, "method_not_allowed"),
    ],
)
def test_errors_of_other_layers_take_our_shape(
    method: str, path: str, status: int, kind: str
) -> None:
    """One shape everywhere, and nothing of what another layer may have leaked."""
    answer = ask(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["type"] == kind
    assert set(answer.json()["error"]) == {"type", "message", "field", "detail"}
    assert "secret" not in answer.text
    assert ("allow" in answer.headers) == (status == 405)


def test_our_errors_and_all_successes_pass_unchanged() -> None:
    """Body, status and headers are those of the answer."""
    answer = ask("GET", "/ours")
    assert answer.status_code == 422
    assert answer.headers["retry-after"] == "3"
    assert answer.json()["error"]["detail"] == {"n": 1}
    assert ask("GET", "/stream").content == b"x" * 30


@pytest.mark.parametrize("ours", [True, False])
def test_an_error_in_pieces(ours: bool) -> None:
    """An error body that is streamed is looked at as a whole."""
    whole = error_response(NoImageryError("nothing there")).body if ours else b'{"detail": "no"}'

    async def pieces(_: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            for byte in bytes(whole):
                yield bytes([byte])

        return StreamingResponse(chunks(), 422)

    async def go() -> httpx.Response:
        async with client(Starlette(routes=[Route("/pieces", pieces)])) as http:
            return await http.get("/pieces")

    answer = asyncio.run(go())
    assert answer.status_code == 422
    assert answer.json()["error"]["type"] == "no_imagery"
    assert (answer.content == whole) == ours
    assert int(answer.headers.get("content-length", len(answer.content))) == len(answer.content)


@pytest.mark.parametrize("path", ["/ours", "/nothing", "/stream", "/readyz"])
def test_every_answer_says_the_id_of_its_request(path: str) -> None:
    """The client's own where it is usable, else one that was made; errors too."""
    assert ask("GET", path, headers={"x-request-id": "a-1.b:c_2"}).headers["x-request-id"] == (
        "a-1.b:c_2"
    )
    for unusable in ("a b", "x" * 129, "é\r", ""):
        made = ask("GET", path, headers={"x-request-id": unusable.encode("latin-1")})
        assert re.fullmatch("[0-9a-f]{32}", made.headers["x-request-id"])


def test_an_answer_says_where_its_time_went() -> None:
    """Stages that work in threads notes down, too, in the header of that name."""

    async def staged(_: Request) -> Response:
        def work() -> None:
            with request_context.stage("fetch"):
                pass

        await asyncio.to_thread(work)
        request_context.record_stage("forward", 0.25)
        return PlainTextResponse("done")

    async def go() -> httpx.Response:
        async with client(Starlette(routes=[Route("/staged", staged)])) as http:
            return await http.get("/staged")

    timing = asyncio.run(go()).headers["server-timing"]
    assert re.fullmatch(r"fetch;dur=\d+\.\d, forward;dur=250\.0", timing)


def test_a_crash_is_answered_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a layer raises, the client gets our shape and an id that the log has, too."""

    async def app(*_: Any) -> None:
        raise RuntimeError("/secret/path")

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(RequestContextMiddleware(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.get("/any", headers={"x-request-id": "abc"})

    answer = asyncio.run(go())
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "abc")
    assert answer.json()["error"]["type"] == "internal_error"
    assert "secret" not in answer.text
    assert "request abc failed" in caplog.text


def test_a_crash_after_the_answer_has_begun() -> None:
    """There is nothing left to answer; the server closes the connection."""

    async def app(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("defect")

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    with pytest.raises(RuntimeError, match="defect"):
        asyncio.run(RequestContextMiddleware(app)(scope, send, send))  # type: ignore[arg-type]


def test_a_refused_request_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Whichever layer answers, the line has the status and the id."""
    with caplog.at_level(logging.INFO, "geobento.access"):
        ask("GET", "/nothing", headers={"x-request-id": "abc"})
    (record,) = [one for one in caplog.records if one.name == "geobento.access"]
    line = json.loads(JSONFormatter().format(record))
    assert (line["status"], line["path"], line["method"]) == (404, "/nothing", "GET")
