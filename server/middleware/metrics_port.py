"""A separate port for probes and metrics, which can be closed to the public."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Mapping
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geobento.schemas.errors import NotFound
from server.middleware.admission import UNLIMITED_PATHS
from server.responses import ErrorFormat, error_format_for

METRICS_PATH = "/metrics"
ON_METRICS_PORT = "geobento.metrics_port"
"""Key of a scope: the request came in at the second port."""


class MetricsPortMiddleware:
    """ASGI middleware: probes and metrics on a second port, no metrics on the first.

    The port opens when the application has started, and closes before it stops. It serves the same
    application.

    Args:
        app: The wrapped application.
        port: The second port, on all addresses.
        error_formats: Formats of errors by first part of the path; by default GeoBento's own.
    """

    def __init__(
        self, app: ASGIApp, port: int, error_formats: Mapping[str, ErrorFormat] | None = None
    ) -> None:
        self.app = app
        self._port = port
        self._error_formats = error_formats or {}
        self._root_app: Any = None
        self._server: _MetricsServer | None = None
        self._server_task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http" and (error := _wrong_port_error(scope)) is not None:
            await error_format_for(scope["path"], self._error_formats).render(error)(
                scope, receive, send
            )
        else:
            await self.app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._root_app = scope.get("app")

        async def receive_and_stop() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._stop_server()
            return message

        async def start_and_send(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                try:
                    self._start_server()
                except OSError:
                    reason = f"GEOBENTO_METRICS_PORT: port {self._port} cannot be opened"
                    message = {"type": "lifespan.startup.failed", "message": reason}
            await send(message)

        await self.app(scope, receive_and_stop, start_and_send)

    def _start_server(self) -> None:
        listening = _listen(self._port)
        config = uvicorn.Config(
            self._serve_internal,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        self._server = _MetricsServer(config)
        self._server_task = asyncio.create_task(self._server.serve(sockets=[listening]))

    async def _stop_server(self) -> None:
        if self._server is not None and self._server_task is not None:
            self._server.should_exit = True
            await self._server_task

    async def _serve_internal(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._root_app({**scope, ON_METRICS_PORT: True}, receive, send)


def _wrong_port_error(scope: Scope) -> NotFound | None:
    """The error for a path at the wrong port; None: the port is right."""
    if ON_METRICS_PORT not in scope:
        return NotFound("metrics are on another port") if scope["path"] == METRICS_PATH else None
    if scope["path"] in UNLIMITED_PATHS:
        return None
    return NotFound("this port has only probes and metrics")


class _MetricsServer(uvicorn.Server):
    """A server inside another one, which handles the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", port))
