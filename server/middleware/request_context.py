"""Request ids, access log, and one format for all errors of a path."""

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
"""Status in logs of a request whose client disconnected."""


class RequestContextMiddleware:
    """ASGI middleware that begins the request context and formats errors.

    Args:
        app: The wrapped application.
        error_formats: Formats of errors by first part of the path; by default GeoBento's own.
    """

    def __init__(
        self, app: ASGIApp, error_formats: Mapping[str, ErrorFormat] | None = None
    ) -> None:
        self.app = app
        self._error_formats = error_formats or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = dict(scope["headers"]).get(b"x-request-id", b"")
        context = request_context.begin_request(request_id.decode("latin-1"))
        error_format = error_format_for(scope["path"], self._error_formats)
        annotated_send = _AnnotatedSend(scope, send, context)
        try:
            await self.app(scope, receive, _ErrorFormatter(scope, annotated_send, error_format))
        except Exception as error:
            if annotated_send.status:  # the response has started
                raise
            if not isinstance(error, GeoBentoError):
                logger.exception("request %s failed", context.id)
                error = _internal_error()
            await error_format.render(error)(scope, receive, annotated_send)
        finally:
            annotated_send.finish()


class _AnnotatedSend:
    """Adds the request id and the time of stages to the response, its span and the log."""

    def __init__(self, scope: Scope, send: Send, context: RequestContext) -> None:
        self._scope = scope
        self._send = send
        self._context = context
        self.status = 0
        self._started_at = time.perf_counter()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [(b"x-request-id", self._context.id.encode())]
            if self._context.stage_seconds:
                value = metrics.server_timing(self._context.stage_seconds.items())
                headers.append((b"server-timing", value.encode()))
            message = {**message, "headers": [*message.get("headers", ()), *headers]}
            self._annotate_span()
        await self._send(message)

    def _annotate_span(self) -> None:
        """Set attributes of the request's span, which ends with the response."""
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attribute("geobento.request", self._context.id)
            span.set_attribute("geobento.model", self._context.model)
            for name, seconds in self._context.stage_seconds.items():
                span.set_attribute(f"geobento.{name}_ms", round(1000 * seconds, 1))

    def finish(self) -> None:
        """Observe metrics and write the access log."""
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
    """Formats errors of other layers, such as an unknown route or a wrong method."""

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
        response = self._error_format.render(_error_for_status(start["status"], self._scope))
        kept = [(name, value) for name, value in start["headers"] if _is_kept_header(name.lower())]
        await self._send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": [*response.raw_headers, *kept],
            }
        )
        await self._send({"type": "http.response.body", "body": response.body})


def _is_error(status: int) -> bool:
    return status >= 400 and status != CLIENT_CLOSED_REQUEST


def _is_kept_header(header: bytes) -> bool:
    """Whether a header is kept when the body is replaced."""
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
        return MethodNotAllowed(f"{path} does not accept {method}")
    if status >= 500:
        return _internal_error()
    return error_class_for_status(status)(f"the request was rejected with status {status}")


def _internal_error() -> GeoBentoError:
    return InternalError("the service failed; its log has the cause")
