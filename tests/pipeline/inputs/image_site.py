"""A local website with images, and a fetcher that may use it."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from threading import Event
from typing import Any, ClassVar

from pipeline.inputs.image_urls import Address, ImageUrlFetcher

IMAGE = bytes(range(256)) * 8

HERE = ip_address("127.0.0.1")

NOT_PUBLIC = "does not lead to a host on the public internet"


class Site(ThreadingHTTPServer):
    """A web server with an image and every way to answer badly."""

    request_queue_size = 64
    seen: list[BaseHTTPRequestHandler]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    over: ClassVar[Event] = Event()

    def do_GET(self) -> None:
        assert isinstance(self.server, Site)
        self.server.seen.append(self)
        name, _, argument = self.path[1:].partition("?")[0].partition("/")
        getattr(self, name)(argument)

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""

    def answer(self, body: bytes = IMAGE, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        headers.setdefault("Content_Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def image(self, _: str) -> None:
        self.answer()

    def status(self, argument: str) -> None:
        self.answer(b"secret", int(argument))

    def to(self, argument: str) -> None:
        self.answer(b"", 302, Location=argument)

    def hops(self, argument: str) -> None:
        left = int(argument) - 1
        self.answer(b"", 307, Location=f"/hops/{left}" if left else "/image")

    def loop(self, _: str) -> None:
        self.answer(b"", 301, Location="/loop")

    def zipped(self, _: str) -> None:
        self.answer(gzip.compress(bytes(2**24)), Content_Encoding="gzip")

    def declares(self, argument: str) -> None:
        self.answer(IMAGE, Content_Length=argument)
        self.close_connection = True

    def endless(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.over.is_set():
            self.wfile.write(b"1000\r\n" + bytes(0x1000) + b"\r\n")

    def until_closed(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(IMAGE)
        self.close_connection = True

    def drip(self, where: str) -> None:
        if where == "body":
            self.send_response(200)
            self.end_headers()
        while not self.over.wait(0.02):
            self.wfile.write(b"x")

    def silence(self, _: str) -> None:
        self.over.wait(30)
        self.close_connection = True

    def nonsense(self, _: str) -> None:
        self.wfile.write(b"220 mail.internal ESMTP\r\n\r\n")
        self.close_connection = True


def here(address: Address) -> bool:
    """A host policy that takes this machine for the public internet."""
    return address == HERE


def fetcher(**options: Any) -> ImageUrlFetcher:
    """A fetcher for which this machine is the public internet."""
    return ImageUrlFetcher(**{"max_bytes": 10_000, "timeout_s": 5, "is_allowed": here, **options})


def fake_resolver(
    addresses: dict[str, list[Address]], lookups: list[str]
) -> Callable[..., list[Address]]:
    """A resolver for made-up names, which records the names that it looks up."""

    def resolve(host: str, port: int) -> list[Address]:
        lookups.append(host)
        return addresses[host]

    return resolve
