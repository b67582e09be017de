"""What stands before the routes, outermost first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.middleware.cors import CORSMiddleware

from geobento.config.api_keys import ApiKey
from geobento.config.settings import Settings
from server.metrics_port import MetricsPort
from server.middleware.admission import Guard
from server.middleware.api_keys import Keys
from server.middleware.request_context import Envelope
from server.middleware.security_headers import SecurityHeaders
from server.responses import ErrorShape

Layer = tuple[Any, dict[str, Any]]
"""ASGI middleware and its arguments."""


def layers(
    settings: Settings, keys: Sequence[ApiKey], shapes: Mapping[str, ErrorShape]
) -> list[Layer]:
    """What the settings ask for.

    Args:
        settings: Of the service.
        keys: Those that are accepted; none: no key is wanted.
        shapes: How errors look, by first part of the path, where not as everywhere.
    """
    found: list[Layer] = [(SecurityHeaders, {}), (Envelope, {"shapes": shapes})]
    if settings.cors_origins:
        cors = {
            "allow_origins": settings.cors_origins,
            "allow_methods": ["GET", "POST"],
            "allow_headers": ["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
            "expose_headers": ["Retry-After", "Server-Timing", "X-Request-ID"],
        }
        found.append((CORSMiddleware, cors))
    if settings.metrics_port is not None:
        found.append((MetricsPort, {"port": settings.metrics_port, "shapes": shapes}))
    if keys:
        limits = {"rate": settings.key_rate_limit, "max_in_flight": settings.key_max_concurrency}
        found.append((Keys, {"keys": keys, "shapes": shapes, **limits}))
    bounds = {
        "max_body_mb": settings.max_body_mb,
        "max_in_flight": settings.max_concurrent_requests,
        "max_mb_in_flight": settings.max_pending_mb,
    }
    found.append((Guard, {"shapes": shapes, **bounds}))
    return found
