"""The outermost layer: bounds on what comes in, one shape for every error that goes out."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.answers import ErrorShape, shape_of
from geobento.errors import (
    GeoBentoError,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    by_status,
)

UNBOUNDED = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
"""Paths that are answered however busy the service is."""
DRAIN_FACTOR = 4
"""A body over the limit is read and dropped up to so many times the limit, so that a client
which only reads after writing gets to see the answer."""


class Guard:
    """ASGI middleware.

    Args:
        app: What it wraps.
        max_body_mb: Largest request body, mebibytes.
        max_in_flight: More requests than this at a time are answered 503.
        shapes: How errors look, by first part of the path, where not as everywhere.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body_mb: float,
        max_in_flight: int,
        shapes: Mapping[str, ErrorShape] | None = None,
    ) -> None:
        self.app = app
        self._shapes = shapes or {}
        self._max_body = int(max_body_mb * 2**20)
        self._max_in_flight = max_in_flight
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        shape = shape_of(scope["path"], self._shapes)
        if scope["path"] in UNBOUNDED:
            await self.app(scope, receive, _Shape(scope, send, shape))
        elif self._in_flight >= self._max_in_flight:
            error = Overloaded(
                f"{self._in_flight} requests are being worked on, which is the limit",
                retry_after=1,
            )
            await shape.problem(error)(scope, receive, send)
        else:
            self._in_flight += 1
            try:
                await self._bounded(scope, receive, send, shape)
            finally:
                self._in_flight -= 1

    async def _bounded(self, scope: Scope, receive: Receive, send: Send, shape: ErrorShape) -> None:
        scope["geobento.max_body"] = self._max_body
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_body:
            await self._drain(receive)
            await shape.problem(self._too_large())(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body:
                if message.get("more_body", False):
                    await self._drain(receive)
                raise self._too_large()
            return message

        await self.app(scope, counted, _Shape(scope, send, shape))

    def _too_large(self) -> GeoBentoError:
        return PayloadTooLarge(
            f"the body is over the limit of {self._max_body / 2**20:g} MiB; "
            "send fewer or smaller pictures a request",
            detail={"limit_bytes": self._max_body},
        )

    async def _drain(self, receive: Receive) -> None:
        dropped = 0
        while dropped < DRAIN_FACTOR * self._max_body:
            message = await receive()
            dropped += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or not message.get("more_body", False):
                return


class _Shape:
    """Gives errors of other layers (no such route, wrong method, not ready) the path's shape."""

    def __init__(self, scope: Scope, send: Send, shape: ErrorShape) -> None:
        self._scope = scope
        self._shape = shape
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
            return
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            await self._finish(self._start)

    async def _finish(self, start: Message) -> None:
        if _fits(self._body, self._shape):
            await self._send(start)
            await self._send({"type": "http.response.body", "body": self._body})
            return
        answer = self._shape.problem(_error(start["status"], self._scope))
        allowed = [(name, value) for name, value in start["headers"] if name.lower() == b"allow"]
        await self._send(
            {
                "type": "http.response.start",
                "status": answer.status_code,
                "headers": [*answer.raw_headers, *allowed],
            }
        )
        await self._send({"type": "http.response.body", "body": answer.body})


def _fits(body: bytes, shape: ErrorShape) -> bool:
    try:
        return shape.fits(orjson.loads(body))
    except orjson.JSONDecodeError:
        return False


def _error(status: int, scope: Scope) -> GeoBentoError:
    path, method = scope["path"], scope["method"]
    if path == "/readyz" and status >= 500:
        return Overloaded("not ready: a model has not answered its warm-up yet", retry_after=2)
    if status == 404:
        return NotFound(f"there is no {path}; GET / has the documentation")
    if status == 405:
        return MethodNotAllowed(f"{path} does not answer {method}")
    if status >= 500:
        return InternalError("the service failed; its log has the cause")
    return by_status(status)(f"the request was refused with status {status}")
