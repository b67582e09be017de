"""Images by URL: formats, limits, timeouts, resolution of names."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from threading import Event

import pytest

from geobento.schemas.errors import GeoBentoError, InvalidImage, PayloadTooLarge, SourceError
from pipeline.inputs.image_urls import Address
from tests.pipeline.inputs.image_site import HERE, IMAGE, NOT_PUBLIC, Site, fake_resolver, fetcher

ELSEWHERE = ip_address("192.168.7.7")


def test_an_image(site: Site) -> None:
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
    ("path", "error", "message"),
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
    site: Site, path: str, error: type[GeoBentoError], message: str
) -> None:
    """Each is refused by name, and nothing of what was answered is repeated."""
    with pytest.raises(error, match=message) as caught:
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
    """A host that refuses the connection failed; the error does not name the port."""
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
    names = fake_resolver({"both.example": [HERE, ELSEWHERE]}, [])
    with pytest.raises(InvalidImage, match=NOT_PUBLIC):
        fetcher(resolver=names).fetch(f"http://both.example:{site.server_port}/image")
    assert not site.seen


def test_the_next_address_is_tried(site: Site) -> None:
    """A host of which one address does not answer is reached by another."""
    names = fake_resolver({"two.example": [ip_address("::1"), HERE]}, [])
    reached = fetcher(resolver=names, is_allowed=lambda address: address.is_loopback)
    assert reached.fetch(f"http://two.example:{site.server_port}/image") == IMAGE
