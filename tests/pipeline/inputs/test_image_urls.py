"""Images from the web, from real servers on this machine."""

from __future__ import annotations

import gzip
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Thread
from typing import Any, ClassVar

import pytest

from geobento.schemas.errors import GeoBentoError, InvalidImage, PayloadTooLarge, SourceError
from pipeline.inputs.image_urls import Address, ImageUrlFetcher, is_public

IMAGE = bytes(range(256)) * 8
HERE = ip_address("127.0.0.1")
ELSEWHERE = ip_address("192.168.7.7")
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


@pytest.fixture
def site() -> Iterator[Site]:
    """A running site, and the requests that it saw."""

    class Quiet(Answers):
        over = Event()

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                self.close_connection = True  # hung up by the fetcher, as it should

    with Site(("127.0.0.1", 0), Quiet) as server:
        server.seen = []
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        Quiet.over.set()
        server.shutdown()


def here(address: Address) -> bool:
    """A policy that takes this machine for the public internet."""
    return address == HERE


def fetcher(**options: Any) -> ImageUrlFetcher:
    """A fetcher for which this machine is the public internet."""
    return ImageUrlFetcher(**{"max_bytes": 10_000, "timeout_s": 5, "is_allowed": here, **options})


def named(addresses: dict[str, list[Address]], asked: list[str]) -> Callable[..., list[Address]]:
    """A resolver for made-up names, which notes what it was asked."""

    def resolve(host: str, port: int) -> list[Address]:
        asked.append(host)
        return addresses[host]

    return resolve


def test_a_image(site: Site) -> None:
    """The bytes arrive as they are, with the headers that images are asked for with."""
    assert fetcher().fetch(f"{site.url}/image?size=big#middle") == IMAGE
    (request,) = site.seen
    assert request.path == "/image?size=big"
    assert request.headers["Host"] == f"127.0.0.1:{site.server_port}"
    assert request.headers["Accept-Encoding"] == "identity"
    assert not {"Cookie", "Authorization", "Referer"} & set(request.headers)


@pytest.mark.parametrize("path", ["until_closed/", f"declares/{len(IMAGE)}", "hops/3"])
def test_ways_to_send_an_image(site: Site, path: str) -> None:
    """Bodies with and without a length, and as many redirects as allowed."""
    assert fetcher().fetch(f"{site.url}/{path}") == IMAGE


def test_several_at_a_time(site: Site) -> None:
    """One fetcher serves several threads."""
    shared = fetcher()
    with ThreadPoolExecutor(8) as threads:
        result = list(threads.map(shared.fetch, [f"{site.url}/image"] * 24))
    assert result == [IMAGE] * 24


def test_proxies_of_the_environment_are_not_used(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was checked is the one that is asked."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetcher().fetch(f"{site.url}/image") == IMAGE


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("status/404", InvalidImage, "127.0.0.1 answered with status 404"),
        ("status/401", InvalidImage, "status 401"),
        ("status/204", InvalidImage, "status 204"),
        ("status/302", InvalidImage, "status 302"),
        ("status/500", SourceError, "127.0.0.1 answered with status 500"),
        ("status/503", SourceError, "status 503"),
        ("hops/4", InvalidImage, "up to 3 redirects"),
        ("loop", InvalidImage, "up to 3 redirects"),
        ("zipped", InvalidImage, "content-encoding"),
        ("declares/10001", PayloadTooLarge, "up to 10000 bytes"),
        ("declares/99999999999999999999", PayloadTooLarge, "up to 10000 bytes"),
        ("declares/9000", SourceError, "127.0.0.1 cannot be reached, or does not answer"),
        ("declares/-1", SourceError, "does not answer as a web server"),
        ("endless", PayloadTooLarge, "up to 10000 bytes"),
        ("nonsense", SourceError, "does not answer as a web server"),
        ("to/file:///etc/passwd", InvalidImage, "accepted: http and https"),
        ("to/ftp://127.0.0.1/a.png", InvalidImage, "accepted: http and https"),
        ("to/http://user:word@127.0.0.1/a.png", InvalidImage, "user name or password"),
        ("to/http://[::1", InvalidImage, "not valid"),
        ("to/http://192.168.0.1/a.png", InvalidImage, NOT_PUBLIC),
        ("to///192.168.0.1/a.png", InvalidImage, NOT_PUBLIC),
    ],
)
def test_answers_that_are_no_image(
    site: Site, path: str, error: type[GeoBentoError], says: str
) -> None:
    """Each is refused by name, and nothing of what was answered is repeated."""
    with pytest.raises(error, match=says) as caught:
        fetcher().fetch(f"{site.url}/{path}")
    assert type(caught.value) is error
    assert "secret" not in caught.value.message
    assert "mail" not in caught.value.message


@pytest.mark.parametrize("path", ["drip/body", "drip/head", "silence"])
def test_slow_hosts_are_left(site: Site, path: str) -> None:
    """The time is for the image, not for each read: bytes that trickle in do not prolong it."""
    with pytest.raises(SourceError, match=r"127\.0\.0\.1 did not send the image"):
        fetcher(timeout_s=0.3).fetch(f"{site.url}/{path}")


def test_slow_names_are_left() -> None:
    """The system's resolver may take minutes; the caller does not wait for it."""
    over = Event()

    def resolve(host: str, port: int) -> list[Address]:
        over.wait(30)
        return [HERE]

    with pytest.raises(SourceError, match=r"slow\.example did not send the image within"):
        fetcher(timeout_s=0.1, resolver=resolve).fetch("http://slow.example/a.png")
    over.set()


def test_a_closed_port() -> None:
    """A host that refuses the connection failed; which port was closed is not told."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(SourceError, match=r"127\.0\.0\.1 cannot be reached") as caught:
            fetcher().fetch(f"http://127.0.0.1:{port}/")
    assert str(port) not in caught.value.message


def test_one_resolution_per_hop(site: Site) -> None:
    """The address that was checked is connected to; a name that changes its mind is too late."""
    requests: list[str] = []
    answers = iter([[HERE], [ELSEWHERE]])

    def resolve(host: str, port: int) -> list[Address]:
        requests.append(host)
        return next(answers)

    url = f"http://rebinding.example:{site.server_port}"
    assert fetcher(resolver=resolve).fetch(f"{url}/image") == IMAGE
    assert requests == ["rebinding.example"]
    assert site.seen[0].headers["Host"] == f"rebinding.example:{site.server_port}"

    answers = iter([[HERE], [ELSEWHERE]])
    with pytest.raises(InvalidImage, match=NOT_PUBLIC):
        fetcher(resolver=resolve).fetch(f"{url}/hops/2")
    assert len(site.seen) == 2


def test_one_bad_address_is_enough(site: Site) -> None:
    """A name with a public and a private address is refused before anything is connected to."""
    names = named({"both.example": [HERE, ELSEWHERE]}, [])
    with pytest.raises(InvalidImage, match=NOT_PUBLIC):
        fetcher(resolver=names).fetch(f"http://both.example:{site.server_port}/image")
    assert not site.seen


def test_the_next_address_is_tried(site: Site) -> None:
    """A host of which one address does not answer is reached by another."""
    names = named({"two.example": [ip_address("::1"), HERE]}, [])
    reached = fetcher(resolver=names, is_allowed=lambda address: address.is_loopback)
    assert reached.fetch(f"http://two.example:{site.server_port}/image") == IMAGE


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "http://LOCALHOST./",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://0x7f.0x0.0x0.0x1/",
        "http://0x7f000001/",
        "http://0/",
        "http://0.0.0.0/",
        "http://①②⑦.0.0.1/",
        "http://127。0。0。1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::127.0.0.1]/",
        "http://[fe80::1%25lo]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:7f00:1::]/",
        "http://[2001:0:7f00:1::]/",
        "http://[fd00:ec2::254]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0xa9fea9fe/",
        "http://2852039166/",
        "http://10.0.0.1/",
        "http://192.168.0.1:8080/",
        "http://100.100.100.200/",
        "http://168.63.129.16/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://example.com\\@127.0.0.1/",
        "http://a..b/",
        f"http://{'a' * 70}.example/",
        f"http://{'a.' * 200}example/",
    ],
)
def test_hosts_that_are_not_public(url: str) -> None:
    """However its address is spelt, no inner host is reached; all errors are the same."""
    with pytest.raises(InvalidImage) as caught:
        ImageUrlFetcher(max_bytes=1000, timeout_s=10).fetch(url)
    assert caught.value.message in (
        f"the URL of the image {NOT_PUBLIC}",
        "the URL of the image is not valid",
        "the URL of the image has a user name or password; accepted: none",
    )


def test_names_that_lead_nowhere() -> None:
    """Not to be told from inner names: with two errors, a caller could list the inner ones."""
    for failure in (socket.gaierror(socket.EAI_NONAME, "unknown"), UnicodeError(), None):

        def resolve(host: str, port: int, failure: Exception | None = failure) -> list[Address]:
            if failure is not None:
                raise failure
            return []

        with pytest.raises(InvalidImage, match=NOT_PUBLIC):
            fetcher(resolver=resolve).fetch("http://inner.example/")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://example.com/a.png", "http and https"),
        ("file:///etc/passwd", "http and https"),
        ("gopher://example.com/", "http and https"),
        ("//example.com/a.png", "http and https"),
        ("a.png", "http and https"),
        ("", "http and https"),
        ("http:///a.png", "names no host"),
        ("https://", "names no host"),
        ("http://user:pass@example.com/", "user name or password"),
        ("http://user@example.com/", "user name or password"),
        ("http://example.com:99999/", "no valid port"),
        ("http://example.com:0/", "no valid port"),
        ("http://example.com:http/", "not valid"),
        ("http://[::1/", "not valid"),
        ("http://example.com/\r\nX: y", "not valid"),
        (f"http://example.com/{'a' * 100_000}", "not valid"),
    ],
)
def test_urls_that_are_not_fetched(url: str, says: str) -> None:
    """Refused without a resolution; secrets in them are not repeated."""
    requests: list[str] = []
    with pytest.raises(InvalidImage, match=says) as caught:
        fetcher(resolver=named({}, requests)).fetch(url)
    assert not requests
    assert "pass" not in caught.value.message.replace("password", "")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("1.1.1.1", True),
        ("9.255.255.255", True),
        ("11.0.0.0", True),
        ("100.63.255.255", True),
        ("100.64.0.0", False),
        ("100.127.255.255", False),
        ("100.128.0.0", True),
        ("172.15.255.255", True),
        ("172.16.0.0", False),
        ("172.31.255.255", False),
        ("172.32.0.0", True),
        ("192.0.0.192", False),
        ("192.0.2.1", False),
        ("198.19.255.255", False),
        ("223.255.255.255", True),
        ("239.255.255.250", False),
        ("240.0.0.1", False),
        ("2606:4700:4700::1111", True),
        ("2001:200::1", True),
        ("2001:1ff::1", False),
        ("2001:db8::1", False),
        ("2002:808:808::", False),
        ("3fff::1", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("fd20:ce::254", False),
        ("5f00::1", False),
        ("100::1", False),
        ("::ffff:1.1.1.1", True),
        ("::ffff:10.0.0.1", False),
        ("::ffff:0:10.0.0.1", False),
        ("64:ff9b::101:101", True),
        ("64:ff9b::a00:1", False),
        ("64:ff9b:1::101:101", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    """The edges of the registries, the same on every version of Python."""
    assert is_public(ip_address(address)) is public


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key for `images.example`, signed by itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes its certificate with openssl")
    folder = tmp_path_factory.mktemp("certificate")
    chain, key = folder / "chain.pem", folder / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += [
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
        "-keyout",
        str(key),
        "-out",
        str(chain),
    ]
    command += ["-addext", "subjectAltName=DNS:images.example"]
    subprocess.run(command, check=True, capture_output=True)
    return chain, key


def test_certificates_are_for_the_name(site: Site, certificate: tuple[Path, Path]) -> None:
    """The connection goes to an address; certificate and SNI are those of the name."""
    chain, key = certificate
    greeted: list[str | None] = []
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(chain, key)
    server_side.sni_callback = lambda _socket, name, _context: greeted.append(name)
    site.socket = server_side.wrap_socket(site.socket, server_side=True)
    names = named({"images.example": [HERE], "other.example": [HERE]}, [])
    trusting = fetcher(resolver=names, ssl_context=ssl.create_default_context(cafile=str(chain)))

    url = f"https://images.example:{site.server_port}/image"
    assert trusting.fetch(url) == IMAGE
    with pytest.raises(SourceError, match=r"other\.example cannot be reached"):
        trusting.fetch(url.replace("images", "other"))
    with pytest.raises(SourceError, match=r"images\.example cannot be reached"):
        fetcher(resolver=names).fetch(url)
    assert greeted == ["images.example", "other.example", "images.example"]


def test_a_handshake_that_never_ends() -> None:
    """The time is for TLS, too: this host takes the connection and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/image"
        with pytest.raises(SourceError, match=r"did not send the image within 0\.3 seconds"):
            fetcher(timeout_s=0.3).fetch(url)
