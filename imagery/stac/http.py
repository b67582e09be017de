"""HTTP requests to catalogs: allowed hosts only, with deadlines and retries."""

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
"""Maximum size of a response."""
UNAVAILABLE_STATUSES = (500, 502, 503, 504)
DEFAULT_RETRY_AFTER_S = 10.0
"""``Retry-After`` for clients when a catalog is busy and names none."""


class HostAllowlist:
    """The hosts to which a catalog may send the service. Guards against SSRF.

    Args:
        hosts: Hosts, with the port unless it is the scheme's default. A leading dot allows all
            hosts with this suffix.
        allow_http: Whether to allow plain http.
    """

    def __init__(self, hosts: Iterable[str], *, allow_http: bool) -> None:
        lowered = [name.lower() for name in hosts]
        self._hosts = frozenset(name for name in lowered if not name.startswith("."))
        self._suffixes = tuple(name for name in lowered if name.startswith("."))
        self._allow_http = allow_http

    def check(self, url: httpx.URL) -> httpx.URL:
        """The URL, if it is allowed.

        Raises:
            SourceError: The URL is not allowed.
        """
        if url.scheme not in ("https", "http") or url.userinfo:
            raise SourceError("the catalog refers to something that is not an http(s) address")
        if url.scheme == "http" and not self._allow_http:
            raise SourceError(f"the catalog refers to {url.host} over plain http; it is https")
        host = netloc(url)
        if host not in self._hosts and not host.endswith(self._suffixes or ("\0",)):
            raise SourceError(
                f"the catalog refers to the host {host}, which is not one of its own; "
                "GEOBENTO_STAC_HOSTS names further hosts"
            )
        return url


class HttpJsonClient:
    """HTTP client for JSON. Thread-safe.

    Args:
        allowlist: Allowed hosts.
        headers: Headers of every request.
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
        """Request a JSON object, with retries.

        Args:
            url: URL.
            deadline: Instant of `time.monotonic` at which the request ends.
            method: HTTP method.
            headers: Additional headers.
            params: Query parameters.
            body: JSON body.

        Raises:
            QuotaError: The host refuses further requests for now.
            SourceUnavailable: The host is unreachable or failing.
            SourceError: The response is not a JSON object.
        """
        address = self._allowlist.check(parse_url(url))
        if params:
            address = address.copy_merge_params(params)
        request = {"method": method, "url": address, "headers": headers, "json": body}
        host = netloc(address)

        def attempt() -> dict[str, Any]:
            try:
                content = self._read_body(host, deadline, request)
            except TimeoutError as error:
                failure = SourceUnavailable(f"{host} did not answer before the timeout")
                raise TransientError(failure) from error
            except httpx.RemoteProtocolError as error:
                raise TransientError(SourceError(f"the answer of {host} ended early")) from error
            except (httpx.TransportError, httpx.DecodingError) as error:
                raise TransientError(SourceUnavailable(f"{host} cannot be reached")) from error
            try:
                record = orjson.loads(content)
            except ValueError as error:
                raise TransientError(SourceError(f"the answer of {host} is not JSON")) from error
            if not isinstance(record, dict):
                raise SourceError(f"the answer of {host} is not a JSON object")
            return record

        return with_retries(attempt, deadline)

    def _read_body(self, host: str, deadline: float, request: Mapping[str, Any]) -> bytes:
        """The body of a successful response."""
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
    """Parse a URL. The result is both checked and requested, so that no two parsers can disagree.

    Raises:
        SourceError: The URL is invalid.
    """
    try:
        if "\\" in url or not url.isprintable():
            raise ValueError
        return httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise SourceError("the catalog refers to something that is not an address") from error


def netloc(url: httpx.URL) -> str:
    """Host, with the port unless it is the scheme's default."""
    return url.netloc.decode("ascii").lower()


def map_http_error(host: str, status: int, headers: Mapping[str, str]) -> Exception:
    """The exception for an error response. Pure but for the clock."""
    retry_after = parse_retry_after(headers.get("retry-after"), datetime.now(UTC))
    if status == 429:
        reason = f"{host} answers 429: too many requests"
        return TransientError(
            QuotaError(reason, retry_after=retry_after or DEFAULT_RETRY_AFTER_S), retry_after
        )
    if status in UNAVAILABLE_STATUSES:
        reason = f"{host} answers {status}: it is unavailable"
        return TransientError(SourceUnavailable(reason, retry_after=retry_after), retry_after)
    if status in (401, 403):
        return SourceError(f"{host} denies access to this service ({status})")
    if 300 <= status < 400:
        return SourceError(f"{host} redirects elsewhere, which is not followed")
    return SourceError(f"{host} answers {status}")
