"""Usual names of paths: `/health`, `/docs`, `/openapi.json`."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

ALIASES = {"/health": "/readyz", "/docs": "/", "/openapi.json": "/docs.json"}
"""Path of other servers -> path of this one."""


class PathAliasMiddleware:
    """ASGI middleware that replaces the path of a request by the one that it is an alias of.

    Args:
        app: The wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request."""
        if scope["type"] == "http" and scope["path"] in ALIASES:
            path = ALIASES[scope["path"]]
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self.app(scope, receive, send)
