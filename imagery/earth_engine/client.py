"""The Earth Engine client: initialization, deadlines, retries and errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import ee
import google.auth.exceptions
import httplib2
import httpx
from google.oauth2 import service_account
from googleapiclient.errors import HttpError

from geobento.backoff import parse_retry_after
from geobento.schemas.errors import (
    GeoBentoError,
    ModelError,
    QuotaError,
    SourceError,
    SourceUnavailable,
)
from imagery.earth_engine.rate_limiter import ProcessSharedRateLimiter
from imagery.retry import TransientError, with_retries

T = TypeVar("T")

MAX_CONNECTIONS = 64
TOO_LARGE_MESSAGES = (
    "User memory limit exceeded",
    "Computation timed out",
    "Total request size",
    "Pixel grid dimensions",
)
"""Parts of the error messages that ask for a smaller request."""
RATE_LIMIT_STATUSES, UNAVAILABLE_STATUSES = (429,), (500, 502, 503, 504)
DEFAULT_RETRY_AFTER_S = 10.0
"""``Retry-After`` for clients when Earth Engine is busy and names none."""

_initialize_lock = threading.Lock()
_thread_state = threading.local()


class RequestTooLarge(Exception):
    """The request was too large for Earth Engine; a smaller one may succeed."""


class EarthEngineClient:
    """Rate-limited calls to Earth Engine with deadlines and retries. Thread-safe.

    The constructor initializes the library `ee`, whose state is global: the last client of a
    process replaces the others.

    Args:
        project: Cloud project to bill.
        url: Base URL; None for the high-volume endpoint. Plain http sends no credentials.
        key_file: Service account key; None for the default credentials.
        limiter: Limits concurrency and request rate.
        timeout_s: Timeout of the initialization, seconds.

    Raises:
        SourceError: There are no usable credentials, or Earth Engine is unreachable.
    """

    def __init__(
        self,
        project: str,
        *,
        url: str | None,
        key_file: Path | None,
        limiter: ProcessSharedRateLimiter,
        timeout_s: float,
    ) -> None:
        base = (url or ee.data.HIGH_VOLUME_API_BASE_URL).rstrip("/")
        credentials = _load_credentials(base, key_file, project)
        self._project = project
        self._limiter = limiter
        transport = HttpxTransport(https_only=credentials is not None)

        def initialize() -> None:
            ee.Reset()
            ee.data.setMaxRetries(0)
            ee.Initialize(credentials, base, project=project, http_transport=transport)

        # The library would fetch a list of deprecated collections, without a deadline.
        ee.deprecation._FetchDataCatalogStac = dict
        with _initialize_lock:
            self.call(initialize, time.monotonic() + timeout_s)

    def call(self, request: Callable[[], T], deadline: float) -> T:
        """The result of a function that sends one request to Earth Engine.

        Args:
            request: The function; called again after transient failures.
            deadline: Instant of `time.monotonic` at which the call ends.

        Raises:
            RequestTooLarge: Earth Engine needs a smaller request.
            ModelError: A band is missing.
            SourceError: Any other failure.
        """

        def attempt() -> T:
            with self._limiter.acquire(deadline), _request_deadline(deadline):
                try:
                    return request()
                except Exception as error:
                    raise self._map_error(error) from error

        return with_retries(attempt, deadline)

    def _map_error(self, error: Exception) -> Exception:
        http_error = error if isinstance(error, HttpError) else error.__context__
        if isinstance(http_error, HttpError):
            failure = map_http_error(
                http_error.resp.status, http_error.reason, http_error.resp, self._project
            )
            if isinstance(failure, TransientError) and failure.retry_after:
                self._limiter.pause(failure.retry_after)
            return failure
        return map_transport_error(error, self._project)


class HttpxTransport:
    """HTTP transport of the library `ee`: pooled connections and a deadline per request.

    Args:
        https_only: Whether to refuse plain http.
    """

    def __init__(self, *, https_only: bool) -> None:
        self._https_only = https_only
        limits = httpx.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS
        )
        self._client = httpx.Client(limits=limits, follow_redirects=False)

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        redirections: int | None = None,
        connection_type: Any = None,
    ) -> tuple[httplib2.Response, bytes]:
        """Send one request, with the signature of `httplib2`. Redirects are not followed.

        Raises:
            TimeoutError: The response was incomplete at the deadline.
            ConnectionError: The connection failed, or the response was truncated.
        """
        if self._https_only and not uri.startswith("https://"):
            raise SourceError("credentials for Earth Engine are not sent over plain http")
        deadline: float = _thread_state.deadline
        try:
            with self._client.stream(
                method,
                uri,
                content=body,
                headers=headers,
                timeout=max(deadline - time.monotonic(), 0.001),
            ) as response:
                parts = []
                for part in response.iter_bytes():
                    parts.append(part)
                    if time.monotonic() > deadline:
                        raise TimeoutError
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise ConnectionError from error
        headers_with_status = {**response.headers, "status": str(response.status_code)}
        return httplib2.Response(headers_with_status), b"".join(parts)


@contextmanager
def _request_deadline(deadline: float) -> Iterator[None]:
    """Set the deadline of this thread's requests, an instant of `time.monotonic`."""
    _thread_state.deadline = deadline
    try:
        yield
    finally:
        del _thread_state.deadline


def map_http_error(
    status: int, message: str, headers: Mapping[str, str], project: str
) -> Exception:
    """The exception for an error response of Earth Engine. Pure but for the clock.

    Args:
        status: HTTP status.
        message: Error message of the response.
        headers: Response headers, names in lower case.
        project: Cloud project, for the message of an access error.
    """
    if status in RATE_LIMIT_STATUSES or status in UNAVAILABLE_STATUSES:
        retry_after = parse_retry_after(headers.get("retry-after"), datetime.now(UTC))
        if status in RATE_LIMIT_STATUSES:
            reason = f"Earth Engine answered {status}: its quota is used up"
            return TransientError(
                QuotaError(reason, retry_after=retry_after or DEFAULT_RETRY_AFTER_S), retry_after
            )
        reason = f"Earth Engine answered {status}: it is unavailable"
        return TransientError(SourceUnavailable(reason, retry_after=retry_after), retry_after)
    if status in (401, 403):
        return _access_error(project)
    if any(text in message for text in TOO_LARGE_MESSAGES):
        return RequestTooLarge(message)
    if "did not match any bands" in message:
        return ModelError(
            f"scenes of this window lack a band: {message[:200]}", field="sensor.bands"
        )
    return SourceError(f"Earth Engine answered {status}: {message[:300]}")


def map_transport_error(error: Exception, project: str) -> Exception:
    """The exception for a request without a response. Pure."""
    if isinstance(error, GeoBentoError):
        return error
    if isinstance(error, TimeoutError):
        return TransientError(SourceUnavailable("Earth Engine did not answer before the timeout"))
    if isinstance(error, ConnectionError | google.auth.exceptions.TransportError):
        return TransientError(SourceUnavailable("the connection to Earth Engine failed"))
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return _access_error(project)
    if isinstance(error, ValueError | EOFError | TypeError):  # the library parses any text as JSON
        return TransientError(SourceError("the answer of Earth Engine was damaged"))
    return SourceError(f"asking Earth Engine failed ({type(error).__name__})")


def _load_credentials(base_url: str, key_file: Path | None, project: str) -> Any:
    """Credentials for a base URL; None for plain http."""
    if not base_url.startswith("https://"):
        if key_file is not None:
            raise SourceError(
                "GEOBENTO_EE_URL is plain http, over which no credentials are sent; use https, "
                "or unset GEOBENTO_EE_KEY_FILE"
            )
        return None
    if key_file is None:
        try:
            return ee.data.get_persistent_credentials()
        except (ee.EEException, google.auth.exceptions.GoogleAuthError) as error:
            raise _access_error(project) from error
    try:
        return service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
            str(key_file), scopes=ee.oauth.SCOPES
        )
    except (OSError, ValueError) as error:
        raise SourceError(
            "GEOBENTO_EE_KEY_FILE is not the JSON key of a service account"
        ) from error


def _access_error(project: str) -> SourceError:
    return SourceError(
        f"Earth Engine accepts no credentials of this service for the project {project!r}; run "
        f"`earthengine authenticate` and `earthengine set_project {project}`, or set "
        "GEOBENTO_EE_KEY_FILE to the key of a service account"
    )
