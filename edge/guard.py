"""The outermost layer: bounds on what comes in, one shape for every error that goes out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Mapping
from contextlib import ExitStack

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.answers import ErrorShape, shape_of
from geobento import current, metrics
from geobento.budget import Budget
from geobento.current import Asked
from geobento.errors import (
    GeoBentoError,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    by_status,
)

logger = logging.getLogger("geobento.access")

GONE = 499
"""Status, in logs alone, of a request whose client did not wait for the answer."""
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
        max_mb_in_flight: Bodies that are held at a time, mebibytes.
        shapes: How errors look, by first part of the path, where not as everywhere.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body_mb: float,
        max_in_flight: int,
        max_mb_in_flight: float = 1024,
        shapes: Mapping[str, ErrorShape] | None = None,
    ) -> None:
        self.app = app
        self._shapes = shapes or {}
        self._max_body = int(max_body_mb * 2**20)
        held = metrics.HELD_BYTES.labels("bodies")
        self._requests = Budget(max_in_flight, "requests", metrics.REQUESTS.set)
        self._bodies = Budget(max_mb_in_flight * 2**20, "bytes of requests", held.set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        asked = current.begin(headers.get(b"x-request-id", b"").decode("latin-1"))
        shape = shape_of(scope["path"], self._shapes)
        told = _Told(scope, send, asked)
        try:
            if scope["path"] in UNBOUNDED:
                await self.app(scope, receive, _Shape(scope, told, shape))
                return
            declared = headers.get(b"content-length", b"0")
            length = int(declared) if declared.isdigit() else 0
            with ExitStack() as held:
                try:
                    held.enter_context(self._requests.held(1))
                    held.enter_context(self._bodies.held(min(length, self._max_body)))
                except Overloaded as error:
                    await shape.problem(error)(scope, receive, told)
                    return
                await self._bounded(scope, receive, told, shape, length)
        finally:
            told.finish()

    async def _bounded(
        self, scope: Scope, receive: Receive, send: Send, shape: ErrorShape, length: int
    ) -> None:
        scope["geobento.max_body"] = self._max_body
        if length > self._max_body:
            await self._drain(receive)
            await shape.problem(self._too_large())(scope, receive, send)
            return
        received = 0
        beyond = 0
        complete = asyncio.Event()

        async def counted() -> Message:
            nonlocal received, beyond
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body:
                if message.get("more_body", False):
                    await self._drain(receive)
                raise self._too_large()
            more = max(0, received - length - beyond)
            self._bodies.take(more)  # of a body that did not say how long it is
            beyond += more
            if message["type"] == "http.request" and not message.get("more_body", False):
                complete.set()
            return message

        try:
            shaped = _Shape(scope, send, shape)
            await _while_wanted(self.app(scope, counted, shaped), complete, receive, shaped)
        finally:
            self._bodies.give(beyond)

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


async def _while_wanted(
    work: Awaitable[None], complete: asyncio.Event, receive: Receive, send: _Shape
) -> None:
    """Do the work for a client unless it goes away before its answer has begun."""

    async def gone() -> None:
        await complete.wait()
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and not send.begun:
            working.cancel()
            await asyncio.wait([working])
            metrics.ABANDONED.inc()
            await send.abandon()
            return
        await working
    finally:
        working.cancel()
        leaving.cancel()


class _Told:
    """Says the request's id, and when the answer begins, where its time went."""

    def __init__(self, scope: Scope, send: Send, asked: Asked) -> None:
        self._scope = scope
        self._send = send
        self._asked = asked
        self._status = 0
        self._begun = time.perf_counter()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            said = [(b"x-request-id", self._asked.id.encode())]
            if self._asked.seconds:
                value = metrics.server_timing(self._asked.seconds.items())
                said.append((b"server-timing", value.encode()))
            message = {**message, "headers": [*message.get("headers", ()), *said]}
        await self._send(message)

    def finish(self) -> None:
        """Measure and log the request."""
        metrics.observe(self._asked)
        if not logger.isEnabledFor(logging.INFO):
            return
        logger.info(
            "request",
            extra={
                "method": self._scope["method"],
                "path": self._scope["path"],
                "status": self._status,
                "model": self._asked.model,
                "ms": round(1000 * (time.perf_counter() - self._begun), 1),
                "stages_ms": {n: round(1000 * s, 1) for n, s in self._asked.seconds.items()},
            },
        )


class _Shape:
    """Gives errors of other layers (no such route, wrong method, not ready) the path's shape."""

    def __init__(self, scope: Scope, send: Send, shape: ErrorShape) -> None:
        self._scope = scope
        self._shape = shape
        self._send = send
        self._start: Message | None = None
        self._body = b""
        self.begun = False

    async def abandon(self) -> None:
        """Answer a client that has gone: nobody reads it, but the layers outside wait for it."""
        await self._send({"type": "http.response.start", "status": GONE, "headers": []})
        await self._send({"type": "http.response.body", "body": b""})

    async def __call__(self, message: Message) -> None:
        self.begun = True
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
