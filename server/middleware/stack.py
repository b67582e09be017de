"""The middleware stack, outermost first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.middleware.cors import CORSMiddleware

from geobento.config.api_keys import ApiKey
from geobento.config.settings import Settings
from server.middleware.admission import AdmissionMiddleware
from server.middleware.api_keys import ApiKeyMiddleware
from server.middleware.metrics_port import MetricsPortMiddleware
from server.middleware.path_aliases import PathAliasMiddleware
from server.middleware.request_context import RequestContextMiddleware
from server.middleware.security_headers import SecurityHeadersMiddleware
from server.responses import ErrorFormat

Middleware = tuple[Any, dict[str, Any]]
"""ASGI middleware and its arguments."""


def middleware_stack(
    settings: Settings, keys: Sequence[ApiKey], error_formats: Mapping[str, ErrorFormat]
) -> list[Middleware]:
    """The middleware for the settings.

    Args:
        settings: Settings of the service.
        keys: Accepted API keys; empty: no authentication.
        error_formats: Formats of errors by first part of the path; by default GeoBento's own.
    """
    formats = {"error_formats": error_formats}
    stack: list[Middleware] = [
        (PathAliasMiddleware, {}),
        (SecurityHeadersMiddleware, {}),
        (RequestContextMiddleware, formats),
    ]
    if settings.cors_origins:
        cors = {
            "allow_origins": settings.cors_origins,
            "allow_methods": ["GET", "POST"],
            "allow_headers": ["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            "expose_headers": ["Retry-After", "Server-Timing", "X-Request-ID"],
        }
        stack.append((CORSMiddleware, cors))
    if settings.metrics_port is not None:
        stack.append((MetricsPortMiddleware, {"port": settings.metrics_port, **formats}))
    if keys:
        quota = {
            "rate_limit": settings.key_rate_limit,
            "max_concurrency": settings.key_max_concurrency,
        }
        stack.append((ApiKeyMiddleware, {"keys": keys, **quota, **formats}))
    limits = {
        "max_body_mb": settings.max_body_mb,
        "max_concurrent_requests": settings.max_concurrent_requests,
        "max_pending_mb": settings.max_pending_mb,
    }
    stack.append((AdmissionMiddleware, {**limits, **formats}))
    return stack
