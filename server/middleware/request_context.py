"""The outermost layer: an id for every request, one shape for every error that goes out."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

import orjson
from opentelemetry import trace
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geobento.observability import metrics, request_context
from geobento.observability.request_context import RequestContext
from geobento.schemas.errors import (
    GeoBentoError,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    error_class_for_status,
)
from server.responses import ErrorFormat, error_format_for

access_logger = logging.getLogger("geobento.access")
logger = logging.getLogger("geobento")

CLIENT_CLOSED_REQUEST = 499
"""Status, in logs alone, of a request whose client did not wait for the answer."""


class RequestContextMiddleware:
    """ASGI middleware.

    Args:
        app: What it wraps.
        error_formats: How errors look, by first part of the path, where not as everywhere.
    """

    def __init__(
        self, app: ASGIApp, error_formats: Mapping[str, ErrorFormat] | None = None
    ) -> None:
        self.app = app
        self._error_formats = error_formats or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        asked = request_context.begin_request(given.decode("latin-1"))
        shape = error_format_for(scope["path"], self._error_formats)
        told = _AnnotatedSend(scope, send, asked)
        try:
            await self.app(scope, receive, _ErrorFormatter(scope, told, shape))
        except Exception as error:
            if told.status:  # the answer has begun
                raise
            if not isinstance(error, GeoBentoError):
                logger.exception("request %s failed", asked.id)
                error = _internal_error()
            await shape.render(error)(scope, receive, told)
        finally:
            told.finish()


class _AnnotatedSend:
    """Says the request's id, and when the answer begins, where its time went."""

    def __init__(self, scope: Scope, send: Send, context: RequestContext) -> None:
        self._scope = scope
        self._send = send
        self._context = context
        self.status = 0
        self._started_at = time.perf_counter()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            said = [(b"x-request-id", self._context.id.encode())]
            if self._context.stage_seconds:
                value = metrics.server_timing(self._context.stage_seconds.items())
                said.append((b"server-timing", value.encode()))
            message = {**message, "headers": [*message.get("headers", ()), *said]}
            self._annotate_span()
        await self._send(message)

    def _annotate_span(self) -> None:
        """Say it on the request's span, which ends with the answer."""
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attribute("geobento.request", self._context.id)
            span.set_attribute("geobento.model", self._context.model)
            for name, seconds in self._context.stage_seconds.items():
                span.set_attribute(f"geobento.{name}_ms", round(1000 * seconds, 1))

    def finish(self) -> None:
        """Measure and log the request."""
        metrics.observe_stages(self._context)
        if not access_logger.isEnabledFor(logging.INFO):
            return
        access_logger.info(
            "request",
            extra={
                "method": self._scope["method"],
                "path": self._scope["path"],
                "status": self.status,
                "model": self._context.model,
                "ms": round(1000 * (time.perf_counter() - self._started_at), 1),
                "stages_ms": {
                    n: round(1000 * s, 1) for n, s in self._context.stage_seconds.items()
                },
            },
        )


class _ErrorFormatter:
    """Gives errors of other layers (no such route, wrong method, not ready) the path's shape."""

    def __init__(self, scope: Scope, send: Send, error_format: ErrorFormat) -> None:
        self._scope = scope
        self._error_format = error_format
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_error(message["status"]):
            self._start = message
            return
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        if _has_format(self._body, self._error_format):
            await self._send(start)
            await self._send({"type": "http.response.body", "body": self._body})
            return
        answer = self._error_format.render(_error_for_status(start["status"], self._scope))
        kept = [(name, value) for name, value in start["headers"] if _is_kept_header(name.lower())]
        await self._send(
            {
                "type": "http.response.start",
                "status": answer.status_code,
                "headers": [*answer.raw_headers, *kept],
            }
        )
        await self._send({"type": "http.response.body", "body": answer.body})


def _is_error(status: int) -> bool:
    return status >= 400 and status != CLIENT_CLOSED_REQUEST


def _is_kept_header(header: bytes) -> bool:
    """Whether a header of an answer stands when its body is replaced."""
    return header in {b"allow", b"vary"} or header.startswith(b"access-control-")


def _has_format(body: bytes, error_format: ErrorFormat) -> bool:
    try:
        return error_format.matches(orjson.loads(body))
    except orjson.JSONDecodeError:
        return False


def _error_for_status(status: int, scope: Scope) -> GeoBentoError:
    path, method = scope["path"], scope["method"]
    if path == "/readyz" and status >= 500:
        return Overloaded("not ready: a model has not answered its warm-up yet", retry_after=2)
    if status == 404:
        return NotFound(f"there is no {path}; GET / has the documentation")
    if status == 405:
        return MethodNotAllowed(f"{path} does not answer {method}")
    if status >= 500:
        return _internal_error()
    return error_class_for_status(status)(f"the request was refused with status {status}")


def _internal_error() -> GeoBentoError:
    return InternalError("the service failed; its log has the cause")
