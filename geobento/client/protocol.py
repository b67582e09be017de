"""HTTP requests of operations, and results or errors from responses. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import orjson
from pydantic import BaseModel

from geobento.backoff import parse_retry_after
from geobento.client.operations import Operation, RequestT, ResultT
from geobento.schemas.errors import (
    GeoBentoError,
    Overloaded,
    SourceError,
    SourceUnavailable,
    error_class_for_status,
    error_from_body,
)
from geobento.schemas.validation import validate

Fields = Mapping[str, Any]
"""Fields of a request, by name."""


@dataclass(frozen=True)
class HttpRequest:
    """An HTTP request.

    Attributes:
        method: HTTP method.
        path: Path of the route.
        content: The body, as keyword arguments of httpx.
    """

    method: str
    path: str
    content: dict[str, Any] = field(default_factory=dict)


def encode_request(operation: Operation[RequestT, Any], request: RequestT | Fields) -> HttpRequest:
    """The HTTP request of an operation.

    Args:
        operation: Entry of the table of operations.
        request: Its request, or the fields of one.

    Raises:
        InvalidRequest: The fields are not valid.
    """
    checked: Any = request
    if issubclass(operation.request, BaseModel) and not isinstance(request, operation.request):
        checked = validate(operation.request, request)
    path = operation.path.format(model_id=quote(str(checked), safe=""))
    return HttpRequest(operation.method, path, operation.encode(checked))


def decode_response(
    operation: Operation[Any, ResultT], response: httpx.Response, url: str
) -> ResultT:
    """The result of an operation.

    Args:
        operation: Entry of the table of operations.
        response: Response of the server, read.
        url: Address of the server.

    Raises:
        GeoBentoError: The response is an error, or does not come from a GeoBento server.
    """
    if not response.is_success:
        raise _error_from_response(response, url)
    try:
        return operation.decode(response.content)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SourceError(
            f"the response of {url} to {operation.path} is not from GeoBento"
        ) from None


def connection_error(error: httpx.TransportError, url: str) -> GeoBentoError:
    """The error for a connection without a response."""
    if isinstance(error, httpx.TimeoutException):
        return Overloaded(f"no response from {url} in time")
    if isinstance(error, httpx.UnsupportedProtocol):
        return SourceError(f"{url} is not the address of a server; accepted: http:// and https://")
    return SourceUnavailable(f"no GeoBento server responds at {url}: {error}")


def _error_from_response(response: httpx.Response, url: str) -> GeoBentoError:
    status = response.status_code
    retry_after = parse_retry_after(response.headers.get("retry-after"), datetime.now(UTC))
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return error_class_for_status(status)(
            f"{url} responded with {status}", retry_after=retry_after
        )
    return error_from_body(body, status, retry_after)
