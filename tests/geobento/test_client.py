"""The HTTP client against a local server that speaks the wire contract."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import numpy as np
import orjson
import pytest

from geobento import wire
from geobento.cards import ModelList
from geobento.client import Client
from geobento.embedding import Embedding
from geobento.errors import GeoBentoError, InternalError, NoImageryError, Overloaded, SourceError
from geobento.requests import GeoEmbeddingRequest, ImageEmbeddingRequest
from geobento.specs import PointBuffer
from models.store import StoredModel
from tests.geobento.test_wire import META

VECTOR = Embedding(np.array([1, 2], np.float32), META)
GEO = GeoEmbeddingRequest(model="m", spatial=PointBuffer(1, 2, 3))


class Server(ThreadingHTTPServer):
    """Answers everything the same way and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body = status, body
        self.requests: list[tuple[str, str, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append((self.path, self.headers["content-type"], asked))
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
        body = wire.encode_answer("m", 2, [VECTOR], "base64")
    with Server(status, body) as listening:
        Thread(target=listening.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{listening.server_address[1]}", timeout_s=5)
        try:
            yield listening, client
        finally:
            client.close()
            listening.shutdown()


def test_a_place_goes_as_json() -> None:
    """The request arrives as it was made, and asks for the compact encoding."""
    with server() as (listening, client):
        (answer,) = client.geo_embedding(GEO)
    np.testing.assert_array_equal(answer.data, VECTOR.data)  # type: ignore[union-attr]
    path, kind, body = listening.requests[0]
    assert (path, kind) == ("/geo_embedding", "application/json")
    sent = orjson.loads(body)
    assert sent["encoding"] == "base64"
    assert GeoEmbeddingRequest.model_validate({**sent, "encoding": "float"}) == GEO


def test_pictures_go_as_files() -> None:
    """Bytes are sent as they are, not as base64, with the other fields beside them."""
    pictures: list[str | bytes] = [b"\xff\xd8 one", b"\x00\r\n--two"]
    with server() as (listening, client):
        client.image_embedding(ImageEmbeddingRequest(model="m", images=pictures, normalize=True))
    _, kind, body = listening.requests[0]
    assert kind.startswith("multipart/form-data")
    assert body.count(b'name="images"') == 2
    assert all(picture in body for picture in pictures)  # type: ignore[operator]
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


def test_nobody_there() -> None:
    """No server, or one that does not answer, is said plainly."""
    with server() as (listening, client):
        url = str(client._http.base_url)
        listening.shutdown()
        listening.server_close()
    with pytest.raises(SourceError, match="no GeoBento server answers"):
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
    served = mosaiks_stored.served()
    with server(body=ModelList(models=[served]).model_dump_json().encode()) as (listening, client):
        assert client.list_models() == [served]
    assert listening.requests[0][0] == "/models"


def test_pictures_as_text_go_as_json() -> None:
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

    from edge.body import read

    asked = ImageEmbeddingRequest(
        model="7", images=[b"\x00\xff", b"two"], normalize=False, config={"a": "ä"}
    )
    with server() as (listening, client):
        client.image_embedding(asked)
    _, kind, body = listening.requests[0]

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", kind.encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    found = asyncio.run(read(request, ImageEmbeddingRequest, files="images"))
    assert found == asked.model_copy(update={"encoding": "base64"})


@pytest.mark.parametrize("body", [b"<html>Welcome</html>", b"{}", b"[]"])
def test_a_success_that_is_not_ours(body: bytes) -> None:
    """Another server at the address is said plainly."""
    with server(200, body) as (_, client), pytest.raises(GeoBentoError):
        client.geo_embedding(GEO)


def test_bytes_and_text_in_one_request() -> None:
    """Pictures may come as bytes and as base64 side by side, as the type allows."""
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
