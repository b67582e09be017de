"""Asking a catalog over HTTP: only its hosts, with a deadline, tried again where that may help."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from geobento.backoff import parse_retry_after
from geobento.schemas.errors import QuotaError, SourceError, SourceUnavailable
from imagery.retry import TransientError, with_retries

MAX_RESPONSE_BYTES = 64 * 2**20
"""Longer answers are refused."""
UNAVAILABLE_STATUSES = (500, 502, 503, 504)
DEFAULT_RETRY_AFTER_S = 10.0
"""What to tell a client where a catalog is busy and does not say for how long."""


class HostAllowlist:
    """Where a catalog may make the service go.

    Args:
        hosts: Hosts, with the port where it is not the scheme's own; one that begins with a dot
            stands for all hosts that end so.
        allow_http: Whether plain http will do.
    """

    def __init__(self, hosts: Iterable[str], *, allow_http: bool) -> None:
        lowered = [name.lower() for name in hosts]
        self._hosts = frozenset(name for name in lowered if not name.startswith("."))
        self._suffixes = tuple(name for name in lowered if name.startswith("."))
        self._allow_http = allow_http

    def check(self, url: httpx.URL) -> httpx.URL:
        """The address, if the catalog may lead there.

        Raises:
            SourceError: It may not.
        """
        if url.scheme not in ("https", "http") or url.userinfo:
            raise SourceError("the catalog refers to something that is not an http(s) address")
        if url.scheme == "http" and not self._allow_http:
            raise SourceError(f"the catalog refers to {url.host} over plain http; it is https")
        place = netloc(url)
        if place not in self._hosts and not place.endswith(self._suffixes or ("\0",)):
            raise SourceError(
                f"the catalog refers to the host {place}, which is not one of its own; "
                "GEOBENTO_STAC_HOSTS names further hosts"
            )
        return url


class HttpJsonClient:
    """Requests for JSON. Safe for several threads.

    Args:
        allowlist: Where to.
        headers: Sent with every request.
    """

    def __init__(self, allowlist: HostAllowlist, headers: Mapping[str, str] | None = None) -> None:
        self._allowlist = allowlist
        self._client = httpx.Client(headers=headers, follow_redirects=False)

    def request_json(
        self,
        url: str,
        deadline: float,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
    ) -> dict[str, Any]:
        """The JSON object of an answer.

        Args:
            url: Address.
            deadline: Instant of `time.monotonic` at which all ends.
            method: HTTP method.
            headers: Further headers.
            params: Query.
            body: Sent as JSON.

        Raises:
            QuotaError: There were too many requests.
            SourceUnavailable: The host cannot be reached or is out of order.
            SourceError: It answered nonsense.
        """
        address = self._allowlist.check(parse_url(url))
        if params:
            address = address.copy_merge_params(params)
        asked = {"method": method, "url": address, "headers": headers, "json": body}
        host = netloc(address)

        def attempt() -> dict[str, Any]:
            try:
                content = self._read_body(host, deadline, asked)
            except TimeoutError as error:
                failure = SourceUnavailable(f"{host} did not answer in the time that it has")
                raise TransientError(failure) from error
            except httpx.RemoteProtocolError as error:
                raise TransientError(SourceError(f"the answer of {host} ended early")) from error
            except (httpx.TransportError, httpx.DecodingError) as error:
                raise TransientError(SourceUnavailable(f"{host} cannot be reached")) from error
            try:
                answer = orjson.loads(content)
            except ValueError as error:
                raise TransientError(SourceError(f"the answer of {host} is not JSON")) from error
            if not isinstance(answer, dict):
                raise SourceError(f"the answer of {host} is not a JSON object")
            return answer

        return with_retries(attempt, deadline)

    def _read_body(self, host: str, deadline: float, request: Mapping[str, Any]) -> bytes:
        """The body of an answer that is a success."""
        timeout = max(deadline - time.monotonic(), 0.001)
        parts, size = [], 0
        try:
            with self._client.stream(**request, timeout=timeout) as response:
                if not response.is_success:
                    raise map_http_error(host, response.status_code, response.headers)
                for part in response.iter_bytes():
                    parts.append(part)
                    size += len(part)
                    if time.monotonic() > deadline:
                        raise TimeoutError
                    if size > MAX_RESPONSE_BYTES:
                        raise SourceError(f"the answer of {host} is too long")
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        return b"".join(parts)


def parse_url(url: str) -> httpx.URL:
    """An address, in the one spelling that is checked and then used.

    Raises:
        SourceError: It is none.
    """
    try:
        if "\\" in url or not url.isprintable():
            raise ValueError
        return httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise SourceError("the catalog refers to something that is not an address") from error


def netloc(url: httpx.URL) -> str:
    """Host, with the port where it is not the scheme's own."""
    return url.netloc.decode("ascii").lower()


def map_http_error(host: str, status: int, headers: Mapping[str, str]) -> Exception:
    """What an answer that is not a success means to us. Pure but for the clock."""
    wait = parse_retry_after(headers.get("retry-after"), datetime.now(UTC))
    if status == 429:
        reason = f"{host} answers 429: too much is asked of it"
        return TransientError(QuotaError(reason, retry_after=wait or DEFAULT_RETRY_AFTER_S), wait)
    if status in UNAVAILABLE_STATUSES:
        reason = f"{host} answers {status}: it is out of order"
        return TransientError(SourceUnavailable(reason, retry_after=wait), wait)
    if status in (401, 403):
        return SourceError(f"{host} does not let this service in ({status})")
    if 300 <= status < 400:
        return SourceError(f"{host} redirects elsewhere, which is not followed")
    return SourceError(f"{host} answers {status}")
