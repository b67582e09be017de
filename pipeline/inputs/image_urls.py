"""Images from the web: a URL in, its bytes out.

The service stands inside a network whose hosts no caller may reach through it. So a name is
resolved once for every hop, all its addresses are checked, and the connection goes to a checked
address and not to the name. Errors are the same whatever was refused.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from threading import Thread
from typing import Any

import httpcore
import httpx

from geobento.schemas.errors import InvalidImage, PayloadTooLarge, SourceError
from geobento.version import __version__

Address = IPv4Address | IPv6Address
AddressPolicy = Callable[[Address], bool]
Resolver = Callable[[str, int], list[Address]]

# Special-purpose registries of IANA, and what is reached from inside of a cloud only.
_NON_PUBLIC_NETWORKS = [
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network, unspecified
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared: carriers, overlays, Alibaba's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host
        "169.254.0.0/16",  # link-local, metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
]
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_IPV4_IN_IPV6 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))  # mapped, NAT64
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_HEADERS = [
    ("User-Agent", f"GeoBento/{__version__}"),
    ("Accept", "image/*"),
    ("Accept-Encoding", "identity"),
    ("Connection", "close"),
]


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet.

    IPv6 addresses that stand for one of IPv4 (mapped, NAT64) are what that one is; other
    transitional addresses (6to4, Teredo) are not public.
    """
    if isinstance(address, IPv6Address):
        if any(address in network for network in _IPV4_IN_IPV6):
            return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
        if address not in _GLOBAL_UNICAST:
            return False
    return not any(address in network for network in _NON_PUBLIC_NETWORKS)


def resolve_host(host: str, port: int) -> list[Address]:
    """All addresses of a host, in the order of preference of the system.

    Raises:
        OSError: There are none.
        ValueError: It is no name that could have any.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(info[4][0]) for info in infos]


class ImageUrlFetcher:
    """Fetches images from http and https URLs. Safe for several threads.

    Proxies of the environment are not used.

    Args:
        max_bytes: Largest image, bytes.
        timeout_s: Longest time for one image, redirects included, seconds.
        max_redirects: Redirects followed for one image at most.
        is_allowed: Which addresses may be connected to.
        resolver: Host and port to addresses.
        ssl_context: What certificates are checked with; None: as httpx does.
    """

    def __init__(
        self,
        max_bytes: int,
        timeout_s: float,
        max_redirects: int = 3,
        *,
        is_allowed: AddressPolicy = is_public,
        resolver: Resolver = resolve_host,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._max_redirects = max_redirects
        self._is_allowed = is_allowed
        self._resolver = resolver
        self._ssl_context = ssl_context or httpx.create_ssl_context()

    def fetch(self, url: str) -> bytes:
        """What a URL answers with.

        Raises:
            InvalidImage: The URL may not be fetched, or there is nothing usable at it.
            PayloadTooLarge: The answer is larger than allowed.
            SourceError: The host failed, or did not answer in time.
        """
        target = _parse_url(url)
        host = target.host
        backend = _GuardedBackend(self._is_allowed, self._resolver, _Deadline(self._timeout_s))
        try:
            for _ in range(self._max_redirects + 1):
                answer = self._get(target, backend, host)
                if isinstance(answer, bytes):
                    return answer
                target = answer
        except httpcore.TimeoutException:
            raise SourceError(
                f"{host} did not send the image within {self._timeout_s:g} seconds"
            ) from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            raise SourceError(
                f"{host} cannot be reached, or does not answer as a web server does"
            ) from None
        raise InvalidImage(
            "the URL of the image redirects too often; "
            f"accepted: up to {self._max_redirects} redirects"
        )

    def _get(self, url: httpx.URL, backend: _GuardedBackend, host: str) -> bytes | httpx.URL:
        """The body of the answer, or where it redirects to."""
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        headers = [("Host", url.netloc.decode("ascii")), *_HEADERS]
        with (
            httpcore.ConnectionPool(self._ssl_context, network_backend=backend) as pool,
            pool.stream("GET", target, headers=headers) as response,
        ):
            answered = {name.lower(): value for name, value in response.headers}
            location = answered.get(b"location")
            if response.status in _REDIRECT_STATUSES and location is not None:
                return _parse_url(location.decode("utf-8", "replace"), base=url)
            if response.status != 200:
                failed = SourceError if response.status >= 500 else InvalidImage
                raise failed(f"{host} answered with status {response.status}; accepted: 200")
            if answered.get(b"content-encoding", b"identity").lower() not in (b"", b"identity"):
                raise InvalidImage(
                    "the image's host sent it with a content-encoding; accepted: none"
                )
            return self._read_body(response.iter_stream(), int(answered.get(b"content-length", 0)))

    def _read_body(self, chunks: Iterable[bytes], declared: int) -> bytes:
        body, size = [], declared
        if declared <= self._max_bytes:
            size = 0
            for chunk in chunks:
                size += len(chunk)
                if size > self._max_bytes:
                    break
                body.append(chunk)
        if size > self._max_bytes:
            raise PayloadTooLarge(
                f"the image at the URL is too large; accepted: up to {self._max_bytes} bytes"
            )
        return b"".join(body)


class _Deadline:
    """Deadline of a download, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining_s(self) -> float:
        """Seconds until then.

        Raises:
            httpcore.TimeoutException: It has passed.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.TimeoutException
        return left


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to hosts all of whose addresses are allowed, until a deadline."""

    def __init__(self, is_allowed: AddressPolicy, resolver: Resolver, deadline: _Deadline) -> None:
        self._is_allowed = is_allowed
        self._resolver = resolver
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = list(dict.fromkeys(self._resolve_addresses(host, port)))
        if not addresses or not all(map(self._is_allowed, addresses)):
            raise _unreachable_error()
        failure: Exception = httpcore.ConnectError()
        for untried, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            share = self._deadline.remaining_s() / untried
            try:
                stream = self._sockets.connect_tcp(str(address), port, share, local_address)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _DeadlineStream(stream, self._deadline)
        raise failure

    def _resolve_addresses(self, host: str, port: int) -> list[Address]:
        """Resolved on a thread of its own, because the system's resolver knows no deadline."""
        resolved: Future[list[Address]] = Future()

        def look_up() -> None:
            try:
                resolved.set_result(self._resolver(host, port))
            except Exception as error:
                resolved.set_exception(error)

        Thread(target=look_up, name="resolve", daemon=True).start()
        try:
            return resolved.result(self._deadline.remaining_s())
        except TimeoutError:
            raise httpcore.ConnectTimeout from None
        except (OSError, ValueError):
            raise _unreachable_error() from None


class _DeadlineStream(httpcore.NetworkStream):
    """A connection whose reads and writes, however many, end at a deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.remaining_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.remaining_s())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = self._deadline.remaining_s()
        return _DeadlineStream(
            self._stream.start_tls(ssl_context, server_hostname, left), self._deadline
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _parse_url(text: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        url = httpx.URL(text) if base is None else base.join(text)
    except (httpx.InvalidURL, ValueError):
        raise InvalidImage("the URL of the image is not valid") from None
    if url.port is not None and not 0 < url.port < 65536:
        raise InvalidImage("the URL of the image has no valid port; accepted: 1 to 65535")
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidImage("the URL of the image names no host; accepted: http and https URLs")
    if url.userinfo:
        raise InvalidImage("the URL of the image has a user name or password; accepted: none")
    return url


def _unreachable_error() -> InvalidImage:
    """One error for names without an address and for addresses that are not allowed."""
    return InvalidImage("the URL of the image does not lead to a host on the public internet")
