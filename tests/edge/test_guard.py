"""The outermost layer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from edge import body
from edge.answers import answered, problem
from edge.guard import Guard
from geobento.errors import GeoBentoError, NoImagery
from geobento.requests import ImageEmbeddingRequest

LIMIT = 1000


async def echo(request: Request) -> Response:
    """The length of a typed request's body, or its error."""
    read = await body.read(request, ImageEmbeddingRequest, files="images")
    if isinstance(read, GeoBentoError):
        return problem(read)
    return JSONResponse({"images": len(read.images)})


async def text(_: Request) -> Response:
    return PlainTextResponse("something went wrong in /secret/place", 500)


async def teapot(_: Request) -> Response:
    return JSONResponse([{"error": "I'm a teapot"}], 418)


async def ours(_: Request) -> Response:
    return problem(NoImagery("nothing there", detail={"n": 1}, retry_after=3))


async def stream(_: Request) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 10

    return StreamingResponse(chunks())


async def not_ready(_: Request) -> Response:
    return PlainTextResponse("no", 500)


APP = Starlette(
    routes=[
        Route("/echo", echo, methods=["POST"]),
        *(Route(f"/{f.__name__}", f) for f in (text, teapot, ours, stream)),
        Route("/readyz", not_ready),
    ]
)


def client(app: Any = APP, in_flight: int = 10) -> httpx.AsyncClient:
    """A client of an app behind the guard."""
    guarded = Guard(app, max_body_mb=LIMIT / 2**20, max_in_flight=in_flight)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://test")


def ask(method: str, path: str, **content: Any) -> httpx.Response:
    """One request."""

    async def go() -> httpx.Response:
        async with client() as http:
            return await http.request(method, path, **content)

    return asyncio.run(go())


def chunked(size: int) -> AsyncIterator[bytes]:
    """A body without a content length."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(size // 100):
            yield b"a" * 100

    return chunks()


@pytest.mark.parametrize("content", [b"a" * 5000, lambda: chunked(5000)], ids=["length", "chunks"])
def test_a_body_over_the_limit(content: Any) -> None:
    """413 in our shape, whether or not the length is declared."""
    answer = ask("POST", "/echo", content=content() if callable(content) else content)
    assert answer.status_code == 413
    error = answer.json()["error"]
    assert error["type"] == "payload_too_large"
    assert error["detail"] == {"limit_bytes": LIMIT}


def test_a_body_within_the_limit() -> None:
    """The guard does not change what it lets through."""
    assert ask("POST", "/echo", json={"model": "m", "images": ["aa"]}).json() == {"images": 1}


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/echo", 405, "method_not_allowed"),
        ("GET", "/text", 500, "internal_error"),
        ("GET", "/teapot", 400, "invalid_request"),
        ("GET", "/readyz", 503, "overloaded"),
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


def test_work_in_flight_is_bounded() -> None:
    """One more than the limit is told to come back; probes are still answered."""

    async def go() -> tuple[list[httpx.Response], httpx.Response]:
        gate = asyncio.Event()

        async def slow(_: Request) -> Response:
            await gate.wait()
            return PlainTextResponse("done")

        async def probe(_: Request) -> Response:
            return PlainTextResponse("alive")

        app = Starlette(routes=[Route("/slow", slow), Route("/livez", probe)])
        async with client(app, in_flight=2) as http:
            waiting = [asyncio.create_task(http.get("/slow")) for _ in range(2)]
            await asyncio.sleep(0.05)
            refused, probed = await http.get("/slow"), await http.get("/livez")
            gate.set()
            done = await asyncio.gather(*waiting)
            again = await http.get("/slow")
            return [refused, again, *done], probed

    (refused, again, *done), probed = asyncio.run(go())
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["type"] == "overloaded"
    assert probed.text == "alive"
    assert [answer.text for answer in (*done, again)] == ["done"] * 3


async def _work(outcome: object) -> bytes:
    if isinstance(outcome, Exception):
        raise outcome
    if outcome is None:
        await asyncio.sleep(10)
    return b"{}"


@pytest.mark.parametrize(
    ("outcome", "status"),
    [(b"", 200), (NoImagery("none"), 422), (ValueError("/secret"), 500), (None, 504)],
)
def test_every_outcome_has_an_answer(outcome: object, status: int) -> None:
    """A result, an error of ours, a defect, and work that takes too long."""
    answer = asyncio.run(answered(_work(outcome), timeout_s=0.05))
    assert answer.status_code == status
    assert b"secret" not in bytes(answer.body)
