"""Limits on bodies and concurrent requests, behind the outermost layer."""

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

from geobento.schemas.errors import GeoBentoError, NoImageryError
from geobento.schemas.requests import ImageEmbeddingRequest
from server import parsing
from server.middleware.admission import AdmissionMiddleware
from server.middleware.request_context import RequestContextMiddleware
from server.responses import error_response, respond

LIMIT = 1000


async def echo(request: Request) -> Response:
    """The length of a typed request's body, or its error."""
    read = await parsing.read_request(request, ImageEmbeddingRequest, file_field="images")
    if isinstance(read, GeoBentoError):
        return error_response(read)
    return JSONResponse({"images": len(read.images)})


async def text(_: Request) -> Response:
    return PlainTextResponse("something went wrong in /secret/path", 500)


async def teapot(_: Request) -> Response:
    return JSONResponse([{"error": "I'm a teapot"}], 418)


async def ours(_: Request) -> Response:
    return error_response(NoImageryError("nothing there", detail={"n": 1}, retry_after=3))


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
    """A client of an app behind the admission limits and the layers before them."""
    guarded = RequestContextMiddleware(
        AdmissionMiddleware(app, max_body_mb=LIMIT / 2**20, max_concurrent_requests=in_flight)
    )
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
    """The middleware passes the body on unchanged."""
    assert ask("POST", "/echo", json={"model": "m", "images": ["aa"]}).json() == {"images": 1}


def test_work_in_flight_is_bounded() -> None:
    """A request beyond the limit is rejected with `Retry-After`; probes are still answered."""

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
    [(b"", 200), (NoImageryError("none"), 422), (ValueError("/secret"), 500), (None, 504)],
)
def test_every_outcome_has_an_answer(outcome: object, status: int) -> None:
    """A result, an error of ours, a defect, and work that takes too long."""
    answer = asyncio.run(respond(_work(outcome), timeout_s=0.05))
    assert answer.status_code == status
    assert b"secret" not in bytes(answer.body)


async def raw(
    app: Any, *messages: dict[str, Any], path: str = "/echo", method: str = "POST", **headers: str
) -> list[Any]:
    """What is sent for these messages of a client that then waits for its answer."""
    waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    for message in messages:
        waiting.put_nowait({"type": "http.request", **message})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip
    await asyncio.wait_for(app(scope, waiting.get, send), 1)
    return sent


def test_a_declared_length_is_refused_unread() -> None:
    """The app is not called if the declared length is over the limit."""
    called = []

    async def app(*_: Any) -> None:
        called.append(True)

    guarded = AdmissionMiddleware(app, max_body_mb=LIMIT / 2**20, max_concurrent_requests=1)
    for length, expected in ((LIMIT + 1, []), (LIMIT, [True])):
        sent = asyncio.run(raw(guarded, {"body": b""}, content_length=str(length)))
        assert called == expected
        assert [m["status"] for m in sent if m["type"] == "http.response.start"] == (
            [] if expected else [413]
        )


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_is_exact(over: int) -> None:
    """A body of exactly the limit is read; one byte more is not."""
    frame = b'{"model": "m", "images": [""]}'
    content = frame.replace(b'""', b'"' + b"a" * (LIMIT + over - len(frame)) + b'"')
    assert len(content) == LIMIT + over
    app = AdmissionMiddleware(APP, max_body_mb=LIMIT / 2**20, max_concurrent_requests=1)
    half = {"body": content[:500], "more_body": True}
    rest = {"body": content[500:], "more_body": True}
    sent = asyncio.run(raw(app, half, rest, {"body": b"", "more_body": False}))
    assert sent[0]["status"] == (413 if over else 200)


def test_the_last_message_crosses_the_limit() -> None:
    """A body without a length that ends in the message that is too much is answered."""
    app = AdmissionMiddleware(APP, max_body_mb=LIMIT / 2**20, max_concurrent_requests=1)
    sent = asyncio.run(raw(app, {"body": b"a" * (LIMIT + 100), "more_body": False}))
    assert sent[0]["status"] == 413


def test_a_crash_releases_the_limiter() -> None:
    """An exception of the app goes on to the server and leaves no request in flight."""

    async def app(*_: Any) -> None:
        raise RuntimeError("defect")

    guarded = AdmissionMiddleware(app, max_body_mb=1, max_concurrent_requests=1)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="defect"):
            asyncio.run(raw(guarded, {"body": b""}))


def test_other_scopes_pass() -> None:
    """Start and stop of the server are not requests."""
    heard = []

    async def app(scope: Any, *_: Any) -> None:
        heard.append(scope["type"])

    guarded = AdmissionMiddleware(app, max_body_mb=1, max_concurrent_requests=1)
    asyncio.run(guarded({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert heard == ["lifespan"]


def test_bytes_in_flight_are_bounded() -> None:
    """A body is rejected unread if other bodies fill the limiter, with or without a length."""

    async def go() -> None:
        gate = asyncio.Event()
        read = []

        async def slow(request: Request) -> Response:
            result = await parsing.read_request(request, ImageEmbeddingRequest)
            if isinstance(result, GeoBentoError) and result.status == 503:
                return error_response(result)
            read.append(True)
            await gate.wait()
            return PlainTextResponse("done")

        app = Starlette(routes=[Route("/slow", slow, methods=["POST"])])
        guarded = AdmissionMiddleware(
            app, max_body_mb=1, max_concurrent_requests=9, max_pending_mb=LIMIT / 2**20
        )
        transport = httpx.ASGITransport(guarded)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            waiting = asyncio.create_task(http.post("/slow", content=b"a" * 600))
            await asyncio.sleep(0.05)
            for content in (b"a" * 600, chunked(600)):
                refused = await http.post("/slow", content=content)
                assert refused.status_code == 503
                assert refused.headers["retry-after"] == "1"
            assert read == [True]
            gate.set()
            assert (await waiting).text == "done"
            assert (await http.post("/slow", content=b"a" * 900)).text == "done"
            assert (await http.post("/slow", content=chunked(900))).text == "done"

    asyncio.run(go())


def test_a_client_that_disconnects_releases_the_limiter() -> None:
    """The work is cancelled, the layers around it are answered, the next one comes in."""

    async def go() -> list[Any]:
        cancelled = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        guarded = AdmissionMiddleware(app, max_body_mb=1, max_concurrent_requests=1)
        sent: list[Any] = []
        for _ in range(3):
            cancelled.clear()
            messages = iter([{"type": "http.request", "body": b"a"}, {"type": "http.disconnect"}])

            async def receive(messages: Any = messages) -> Any:
                return next(messages)

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {"type": "http", "method": "POST", "path": "/echo", "headers": []}
            await asyncio.wait_for(guarded(scope, receive, send), 1)
            assert cancelled.is_set()
        return sent

    sent = asyncio.run(go())
    assert [m["status"] for m in sent if m["type"] == "http.response.start"] == [499] * 3
