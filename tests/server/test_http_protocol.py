"""Requests with an offer to upgrade, over sockets to a uvicorn server."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvicorn.config
from starlette.types import Receive, Scope, Send

from server import http_protocol

OFFER = (
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with the path, the headers and the length of the body."""
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    body = json.dumps({"path": scope["path"], "length": length, "headers": headers}).encode()
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-length", str(len(body)).encode())],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Port of a server with the protocol."""
    before = uvicorn.config.HTTP_PROTOCOLS["auto"]
    http_protocol.ignore_upgrade_offers()
    config = uvicorn.Config(echo, lifespan="off", log_config=None)
    config.load()
    uvicorn.config.HTTP_PROTOCOLS["auto"] = before
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield int(listening.getsockname()[1])
    server.should_exit = True
    thread.join()


@contextmanager
def connection(port: int) -> Iterator[socket.socket]:
    """A connection to the server."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        yield client


def read_response(client: socket.socket) -> Any:
    """The JSON of one response."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += client.recv(65536)
    assert len(body) == length
    return json.loads(body)


def post(path: str, body: bytes, extra: str = OFFER) -> bytes:
    """A request."""
    head = f"POST {path} HTTP/1.1\r\nHost: test\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("length", [0, 1, 1000, 300_000])
def test_the_body_is_read(port: int, length: int) -> None:
    """The request is answered over HTTP/1.1, without the headers of the offer."""
    with connection(port) as client:
        client.sendall(post("/one?a=b", bytes(length)))
        response = read_response(client)
    assert (response["path"], response["length"]) == ("/one", length)
    assert response["headers"] == {"host": "test", "content-length": str(length)}


def test_other_options_of_the_connection_are_kept(port: int) -> None:
    """Only what belongs to the offer is removed."""
    with connection(port) as client:
        client.sendall(post("/", b"x", OFFER.replace("Upgrade, HTTP2", "close, Upgrade, HTTP2")))
        assert read_response(client)["headers"]["connection"] == "close"
        assert client.recv(1) == b""


def test_a_chunked_body_in_small_packets(port: int) -> None:
    """Packets may end anywhere."""
    request = (
        f"POST / HTTP/1.1\r\nHost: test\r\n{OFFER}Transfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    ).encode()
    with connection(port) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(request), 7):
            client.sendall(request[start : start + 7])
            time.sleep(0.001)
        assert read_response(client)["length"] == 11


def test_requests_before_and_after(port: int) -> None:
    """The connection stays open, with and without offers, also if requests do not wait."""
    with connection(port) as client:
        for extra in ("", OFFER, "", OFFER):
            client.sendall(post("/next", b"four", extra))
            assert read_response(client)["length"] == 4
    with connection(port) as client:
        client.sendall(post("/a", b"1", "") + post("/b", b"22") + post("/c", b"333", ""))
        assert [read_one(client) for _ in range(3)] == [("/a", 1), ("/b", 2), ("/c", 3)]


def read_one(client: socket.socket) -> tuple[str, int]:
    """Path and length of one response; reads no byte of the next one."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += client.recv(length - len(body))
    response = json.loads(body)
    return response["path"], response["length"]


def test_requests_without_an_offer_stay_with_httptools(port: int) -> None:
    """Invalid requests have a response, too."""
    with connection(port) as client:
        client.sendall(post("/plain", b"body", ""))
        assert read_response(client)["path"] == "/plain"
    with connection(port) as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_with_http2(port: int) -> None:
    """`curl --http2` offers h2c."""
    command = ["curl", "-sf", "--http2", f"http://127.0.0.1:{port}/curl", "-d", "hello"]
    output = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout
    assert json.loads(output)["length"] == 5


JAVA_CLIENT = """
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

class Client {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        for (int number = 0; number < 2; number++) {
            var body = HttpRequest.BodyPublishers.ofString("hello");
            var request = HttpRequest.newBuilder(URI.create(arguments[0])).POST(body).build();
            System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
        }
    }
}
"""


@pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed")
def test_the_http_client_of_java(port: int, tmp_path: Path) -> None:
    """With its defaults, two requests over one connection."""
    source = tmp_path / "Client.java"
    source.write_text(JAVA_CLIENT)
    command = ["java", str(source), f"http://127.0.0.1:{port}/java"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "jdk.compiler" in done.stderr:
        pytest.skip("java cannot compile")
    responses = [json.loads(line) for line in done.stdout.splitlines()]
    assert [response["length"] for response in responses] == [5, 5], done.stderr
