"""Hosts and URLs that are not fetched, and certificates."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from geobento.schemas.errors import InvalidImage, SourceError
from pipeline.inputs.image_urls import Address, ImageUrlFetcher, is_public
from tests.pipeline.inputs.image_site import HERE, IMAGE, NOT_PUBLIC, Site, fake_resolver, fetcher


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
    """The same error as for inner names: with two errors, a caller could list the inner ones."""
    for failure in (socket.gaierror(socket.EAI_NONAME, "unknown"), UnicodeError(), None):

        def resolve(host: str, port: int, failure: Exception | None = failure) -> list[Address]:
            if failure is not None:
                raise failure
            return []

        with pytest.raises(InvalidImage, match=NOT_PUBLIC):
            fetcher(resolver=resolve).fetch("http://inner.example/")


@pytest.mark.parametrize(
    ("url", "message"),
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
def test_urls_that_are_not_fetched(url: str, message: str) -> None:
    """Refused without a resolution; secrets in them are not repeated."""
    requests: list[str] = []
    with pytest.raises(InvalidImage, match=message) as caught:
        fetcher(resolver=fake_resolver({}, requests)).fetch(url)
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
    names = fake_resolver({"images.example": [HERE], "other.example": [HERE]}, [])
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
