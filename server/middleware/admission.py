"""Limits on concurrent requests and on bytes of request bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from contextlib import ExitStack

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geobento.limiters import AdmissionLimiter
from geobento.observability import metrics
from geobento.schemas.errors import GeoBentoError, Overloaded, PayloadTooLarge
from server.middleware.request_context import CLIENT_CLOSED_REQUEST
from server.responses import ErrorFormat, error_format_for

UNLIMITED_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""Paths without limits: probes and metrics."""
DRAIN_FACTOR = 4
"""A body over the limit is read and dropped, up to this multiple of the limit. A client that reads
only after writing then gets the response."""


class AdmissionMiddleware:
    """ASGI middleware that rejects requests over the limits.

    Args:
        app: The wrapped application.
        max_body_mb: Maximum size of a request body, mebibytes.
        max_concurrent_requests: Maximum number of concurrent requests.
        max_pending_mb: Maximum size of all request bodies in memory, mebibytes.
        error_formats: Formats of errors by first part of the path; by default GeoBento's own.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body_mb: float,
        max_concurrent_requests: int,
        max_pending_mb: float = 1024,
        error_formats: Mapping[str, ErrorFormat] | None = None,
    ) -> None:
        self.app = app
        self._error_formats = error_formats or {}
        self._max_body_bytes = int(max_body_mb * 2**20)
        pending = metrics.PENDING_BYTES.labels("bodies")
        self._request_limiter = AdmissionLimiter(
            max_concurrent_requests, "requests", metrics.REQUESTS_IN_FLIGHT.set
        )
        self._body_limiter = AdmissionLimiter(
            max_pending_mb * 2**20, "bytes of requests", pending.set
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request."""
        if scope["type"] != "http" or scope["path"] in UNLIMITED_PATHS:
            await self.app(scope, receive, send)
            return
        error_format = error_format_for(scope["path"], self._error_formats)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        length = int(declared) if declared.isdigit() else 0
        with ExitStack() as limits:
            try:
                limits.enter_context(self._request_limiter.hold(1))
                limits.enter_context(self._body_limiter.hold(min(length, self._max_body_bytes)))
            except Overloaded as error:
                await error_format.render(error)(scope, receive, send)
                return
            await self._limit_body(scope, receive, send, error_format, length)

    async def _limit_body(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        error_format: ErrorFormat,
        content_length: int,
    ) -> None:
        scope["geobento.max_body"] = self._max_body_bytes
        if content_length > self._max_body_bytes:
            await self._drain(receive)
            await error_format.render(self._too_large_error())(scope, receive, send)
            return
        received = 0
        undeclared = 0
        complete = asyncio.Event()

        async def receive_limited() -> Message:
            nonlocal received, undeclared
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                if message.get("more_body", False):
                    await self._drain(receive)
                raise self._too_large_error()
            more = max(0, received - content_length - undeclared)
            self._body_limiter.acquire(more)  # the body has no Content-Length
            undeclared += more
            if message["type"] == "http.request" and not message.get("more_body", False):
                complete.set()
            return message

        try:
            response = _AbandonableResponse(send)
            work = self.app(scope, receive_limited, response)
            await _run_until_disconnect(work, complete, receive, response)
        finally:
            self._body_limiter.release(undeclared)

    def _too_large_error(self) -> GeoBentoError:
        return PayloadTooLarge(
            f"the body is over the limit of {self._max_body_bytes / 2**20:g} MiB; "
            "send fewer or smaller images per request",
            detail={"limit_bytes": self._max_body_bytes},
        )

    async def _drain(self, receive: Receive) -> None:
        dropped = 0
        while dropped < DRAIN_FACTOR * self._max_body_bytes:
            message = await receive()
            dropped += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return


async def _run_until_disconnect(
    work: Awaitable[None],
    body_received: asyncio.Event,
    receive: Receive,
    response: _AbandonableResponse,
) -> None:
    """Run a request; cancel it if the client disconnects before the response has started."""

    async def wait_for_disconnect() -> None:
        await body_received.wait()
        while (await receive())["type"] != "http.disconnect":
            pass

    running = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(wait_for_disconnect())
    try:
        await asyncio.wait([running, disconnect], return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and not response.started:
            running.cancel()
            await asyncio.wait([running])
            metrics.ABANDONED_REQUESTS.inc()
            await response.abandon()
            return
        await running
    finally:
        running.cancel()
        disconnect.cancel()


class _AbandonableResponse:
    """A response that knows whether it has started."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        self.started = True
        await self._send(message)

    async def abandon(self) -> None:
        """Complete the response of a disconnected client, for the outer layers that wait for it."""
        await self({"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST, "headers": []})
        await self({"type": "http.response.body", "body": b""})
