"""Bounds on what comes in."""

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
"""Paths that are answered however busy the service is."""
DRAIN_FACTOR = 4
"""A body over the limit is read and dropped up to so many times the limit, so that a client
which only reads after writing gets to see the answer."""


class AdmissionMiddleware:
    """ASGI middleware.

    Args:
        app: What it wraps.
        max_body_mb: Largest request body, mebibytes.
        max_concurrent_requests: More requests than this at a time are answered 503.
        max_pending_mb: Bodies that are held at a time, mebibytes.
        error_formats: How errors look, by first part of the path, where not as everywhere.
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
        held = metrics.PENDING_BYTES.labels("bodies")
        self._request_limiter = AdmissionLimiter(
            max_concurrent_requests, "requests", metrics.REQUESTS_IN_FLIGHT.set
        )
        self._body_limiter = AdmissionLimiter(max_pending_mb * 2**20, "bytes of requests", held.set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in UNLIMITED_PATHS:
            await self.app(scope, receive, send)
            return
        shape = error_format_for(scope["path"], self._error_formats)
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        length = int(declared) if declared.isdigit() else 0
        with ExitStack() as held:
            try:
                held.enter_context(self._request_limiter.hold(1))
                held.enter_context(self._body_limiter.hold(min(length, self._max_body_bytes)))
            except Overloaded as error:
                await shape.render(error)(scope, receive, send)
                return
            await self._limit_body(scope, receive, send, shape, length)

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
        beyond = 0
        complete = asyncio.Event()

        async def counted() -> Message:
            nonlocal received, beyond
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                if message.get("more_body", False):
                    await self._drain(receive)
                raise self._too_large_error()
            more = max(0, received - content_length - beyond)
            self._body_limiter.acquire(more)  # of a body that did not say how long it is
            beyond += more
            if message["type"] == "http.request" and not message.get("more_body", False):
                complete.set()
            return message

        try:
            answer = _AbandonableResponse(send)
            await _run_until_disconnect(self.app(scope, counted, answer), complete, receive, answer)
        finally:
            self._body_limiter.release(beyond)

    def _too_large_error(self) -> GeoBentoError:
        return PayloadTooLarge(
            f"the body is over the limit of {self._max_body_bytes / 2**20:g} MiB; "
            "send fewer or smaller pictures a request",
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
    """Do the work for a client unless it goes away before its answer has begun."""

    async def gone() -> None:
        await body_received.wait()
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and not response.started:
            working.cancel()
            await asyncio.wait([working])
            metrics.ABANDONED_REQUESTS.inc()
            await response.abandon()
            return
        await working
    finally:
        working.cancel()
        leaving.cancel()


class _AbandonableResponse:
    """Knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        self.started = True
        await self._send(message)

    async def abandon(self) -> None:
        """Answer a client that has gone: nobody reads it, but the layers outside wait for it."""
        await self({"type": "http.response.start", "status": CLIENT_CLOSED_REQUEST, "headers": []})
        await self({"type": "http.response.body", "body": b""})
