"""The HTTP client against a local server that speaks the wire contract."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from inspect import signature
from threading import Thread

import httpx
import numpy as np
import orjson
import pytest

from geobento import backoff
from geobento.client.engine import EmbeddingEngine
from geobento.client.http import AsyncClient, Client
from geobento.schemas import serialization
from geobento.schemas.cards import ModelList
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import (
    GeoBentoError,
    InternalError,
    NoImageryError,
    Overloaded,
    RateLimited,
    SourceError,
    SpecError,
    error_class_for_status,
)
from geobento.schemas.requests import GeoEmbeddingRequest, ImageEmbeddingRequest
from geobento.schemas.specs import PointBuffer
from models.weights.stored_model import StoredModel
from tests.geobento.schemas.test_serialization import META

VECTOR = Embedding(np.array([1, 2], np.float32), META)
GEO = GeoEmbeddingRequest(model="m", spatial=PointBuffer(1, 2, 3))


class Server(ThreadingHTTPServer):
    """Answers every request the same way and records the requests."""

    daemon_threads = True

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body = status, body
        self.requests: list[tuple[str, str, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((self.path, self.headers["content-type"], request))
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def do_GET(self) -> None:
        self.headers["content-length"] = "0"
        self.headers["content-type"] = ""
        self.do_POST()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output clean."""


@contextmanager
def server(status: int = 200, body: bytes | None = None) -> Iterator[tuple[Server, Client]]:
    """A server and a client of it."""
    if body is None:
        body = serialization.encode_embeddings("m", 2, [VECTOR], "base64")
    with Server(status, body) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{listening.server_address[1]}", timeout_s=5)
        try:
            yield listening, client
        finally:
            client.close()
            listening.shutdown()


def test_a_region_goes_as_json() -> None:
    """The request arrives as it was made, and asks for the compact encoding."""
    with server() as (listening, client):
        (answer,) = client.geo_embedding(GEO)
    np.testing.assert_array_equal(answer.data, VECTOR.data)  # type: ignore[union-attr]
    path, kind, body = listening.requests[0]
    assert (path, kind) == ("/geo_embedding", "application/json")
    sent = orjson.loads(body)
    assert sent["encoding"] == "base64"
    assert GeoEmbeddingRequest.model_validate({**sent, "encoding": "float"}) == GEO


def test_images_go_as_files() -> None:
    """Bytes are sent as they are, not as base64, with the other fields beside them."""
    images: list[str | bytes] = [b"\xff\xd8 one", b"\x00\r\n--two"]
    with server() as (listening, client):
        client.image_embedding(ImageEmbeddingRequest(model="m", images=images, normalize=True))
    _, kind, body = listening.requests[0]
    assert kind.startswith("multipart/form-data")
    assert body.count(b'name="images"') == 2
    assert all(image in body for image in images)  # type: ignore[operator]
    assert b'name="normalize"\r\n\r\ntrue' in body


@pytest.mark.parametrize(
    ("status", "body", "cls"),
    [
        (422, orjson.dumps(NoImageryError("nothing", field="spatial").body()), NoImageryError),
        (502, b"<html>Bad gateway</html>", SourceError),
        (500, b"", InternalError),
    ],
)
def test_failures_become_their_exceptions(
    status: int, body: bytes, cls: type[GeoBentoError]
) -> None:
    """Also where a proxy answered something that is not ours."""
    with server(status, body) as (_, client), pytest.raises(cls):
        client.geo_embedding(GEO)


def test_no_server() -> None:
    """The error says that the server does not answer."""
    with server() as (listening, client):
        url = str(client._http.base_url)
        listening.shutdown()
        listening.server_close()
    with pytest.raises(SourceError, match="no GeoBento server responds"):
        Client(url, timeout_s=5, retries=1).geo_embedding(GEO)


def test_a_server_that_is_too_slow() -> None:
    """The wait is bounded."""
    with server() as (listening, _):
        listening.shutdown()
        client = Client(f"http://127.0.0.1:{listening.server_address[1]}", timeout_s=0.3)
        with pytest.raises(Overloaded, match="in time"):
            client.geo_embedding(GEO)


def test_models_are_listed(mosaiks_stored: StoredModel) -> None:
    """The card arrives as it is served."""
    served = mosaiks_stored.to_served_model()
    with server(body=ModelList(models=[served]).model_dump_json().encode()) as (listening, client):
        assert client.list_models() == [served]
    assert listening.requests[0][0] == "/models"


def test_images_as_text_go_as_json() -> None:
    """Base64 stays base64; what is not given is not sent."""
    with server() as (listening, client):
        client.image_embedding(ImageEmbeddingRequest(model="m", images=["aa", "bb"]))
    path, kind, body = listening.requests[0]
    assert (path, kind) == ("/image_embedding", "application/json")
    assert orjson.loads(body) == {
        "model": "m", "images": ["aa", "bb"], "config": {}, "encoding": "base64",
    }  # fmt: skip


def test_a_form_is_read_as_it_was_meant() -> None:
    """What the client writes is what the service reads: every file, every field."""
    from starlette.requests import Request

    from server.parsing import read_request

    requested = ImageEmbeddingRequest(
        model="7", images=[b"\x00\xff", b"two"], normalize=False, config={"a": "ä"}
    )
    with server() as (listening, client):
        client.image_embedding(requested)
    _, kind, body = listening.requests[0]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    result = asyncio.run(read_request(request, ImageEmbeddingRequest, file_field="images"))
    assert result == requested.model_copy(update={"encoding": "base64"})


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"{}", b"[]"])
def test_a_success_that_is_not_ours(body: bytes) -> None:
    """The error says that the address belongs to another server."""
    with server(200, body) as (_, client), pytest.raises(GeoBentoError):
        client.geo_embedding(GEO)


def test_bytes_and_text_in_one_request() -> None:
    """Images may come as bytes and as base64 side by side, as the type allows."""
    with server() as (_, client):
        client.image_embedding(ImageEmbeddingRequest(model="m", images=[b"\xff\xd8", "aa"]))


def test_the_time_to_wait_arrives() -> None:
    """`retry_after` says the same in-process and over HTTP."""
    body = orjson.dumps(Overloaded("busy").body())
    answer = httpx.Response(503, content=body, headers={"Retry-After": "3"})
    client = Client("http://test", retries=0, transport=httpx.MockTransport(lambda _: answer))
    with pytest.raises(Overloaded) as caught:
        client.geo_embedding(GEO)
    assert caught.value.retry_after == 3


def answering(
    *statuses: int, retry_after: str = "0"
) -> tuple[list[httpx.Request], httpx.MockTransport]:
    """Requests, and a server that gives these statuses in order; 0 cuts the connection."""
    requested: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requested.append(request)
        status = statuses[len(requested) - 1]
        if status == 0:
            raise httpx.RemoteProtocolError("cut")
        if status == 200:
            return httpx.Response(
                200, content=serialization.encode_embeddings("m", 2, [VECTOR], "base64")
            )
        body = error_class_for_status(status)("no").body()
        return httpx.Response(status, json=body, headers={"Retry-After": retry_after})

    return requested, httpx.MockTransport(answer)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that jitter alone decides are short."""
    monkeypatch.setattr(backoff, "BASE_DELAY_S", 0.001)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("statuses", [(503, 429, 200), (0, 0, 200), (429, 0, 503, 200)])
def test_temporary_failures_are_retried(statuses: tuple[int, ...]) -> None:
    """Busy, at a limit, or cut off: both clients ask again, and get the answer."""
    requested, transport = answering(*statuses)
    with Client("http://test", transport=transport) as client:
        (answer,) = client.geo_embedding(GEO)
    assert isinstance(answer, Embedding)

    async def go() -> list[Embedding | GeoBentoError]:
        async with AsyncClient("http://test", transport=answering(*statuses)[1]) as client:
            return await client.geo_embedding(GEO)

    (again,) = asyncio.run(go())
    np.testing.assert_array_equal(again.data, answer.data)  # type: ignore[union-attr]
    assert len(requested) == len(statuses)
    assert len({request.content for request in requested}) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500, 502, 504])
def test_permanent_failures_are_not_retried(status: int) -> None:
    """A retry would give the same answer."""
    request, transport = answering(status, 200)
    with (
        Client("http://test", transport=transport) as client,
        pytest.raises(error_class_for_status(status)),
    ):
        client.geo_embedding(GEO)
    assert len(request) == 1


@pytest.mark.usefixtures("brief")
def test_attempts_are_counted() -> None:
    """So many after the first, and then the last failure."""
    request, transport = answering(503, 503, 503, 200)
    client = Client("http://test", retries=2, transport=transport)
    with pytest.raises(Overloaded):
        client.geo_embedding(GEO)
    assert len(request) == 3


def test_no_wait_leads_past_the_deadline() -> None:
    """A server that wants more time than there is gets no second request."""
    request, transport = answering(429, 200, retry_after="60")
    client = Client("http://test", timeout_s=30, transport=transport)
    with pytest.raises(RateLimited) as caught:
        client.geo_embedding(GEO)
    assert (len(request), caught.value.retry_after) == (1, 60)


def test_the_api_key_is_sent() -> None:
    """As a bearer, with every request; without one there is no header."""
    for key, sent in (("abc", "Bearer abc"), (None, None)):
        request, transport = answering(200)
        with Client("http://test", api_key=key, transport=transport) as client:
            client.geo_embedding(GEO)
        assert request[0].headers.get("authorization") == sent


def test_fields_in_place_of_a_record() -> None:
    """They are checked before anything is sent, with the errors that the server would give."""
    request, transport = answering(200, 200)
    with Client("http://test", transport=transport) as client:
        client.geo_embedding({"model": "m", "spatial": PointBuffer(1, 2, 3)})
        client.geo_embedding(GEO)
        with pytest.raises(SpecError):
            client.geo_embedding({"model": "m", "spatial": {"type": "Circle"}})
    assert request[0].content == request[1].content
    assert len(request) == 2


def test_both_clients_have_the_same_methods() -> None:
    """Whoever knows one knows the other."""
    methods = [
        {name: signature(method).parameters for name, method in vars(cls).items()
         if callable(method) and not name.startswith("_")}
        for cls in (Client, AsyncClient)
    ]  # fmt: skip
    assert methods[0] == methods[1]
    assert set(methods[0]) == {n for n in vars(EmbeddingEngine) if not n.startswith("_")} | {
        "close"
    }


@pytest.mark.parametrize("url", ["localhost:3000", "ftp://host", ""])
def test_invalid_urls(url: str) -> None:
    """It is said, and not tried again."""
    with Client(url) as client, pytest.raises(SourceError, match="http"):
        client.geo_embedding(GEO)
