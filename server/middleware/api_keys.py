"""Authentication by API keys, and a quota for each key."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from geobento.config.api_keys import ApiKey, parse_key
from geobento.config.settings import Settings
from geobento.schemas.errors import GeoBentoError, RateLimited, SettingsError, Unauthorized
from server.middleware.admission import UNLIMITED_PATHS
from server.middleware.key_quota import KeyQuota
from server.responses import ErrorFormat, error_format_for

PUBLIC_PATHS = UNLIMITED_PATHS | {"/", "/docs.json", "/favicon.ico"}
"""Paths without authentication: probes, metrics, the documentation."""
PUBLIC_PREFIX = "/static_content/"
"""Style and script of the documentation."""
WWW_AUTHENTICATE = 'Bearer realm="GeoBento"'


def configured_keys(settings: Settings) -> tuple[ApiKey, ...]:
    """The API keys of the settings and of the file in them.

    Raises:
        SettingsError: The file cannot be used, two keys have the same name, keys are required and
            there are none, or there are limits but no keys.
    """
    lines: list[str] = []
    if settings.api_keys_file is not None:
        try:
            lines = settings.api_keys_file.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            raise SettingsError("GEOBENTO_API_KEYS_FILE: the file cannot be read") from None
    try:
        stripped = [line.strip() for line in lines]
        file_keys = [parse_key(line) for line in stripped if line and not line.startswith("#")]
    except ValueError as error:
        raise SettingsError(f"GEOBENTO_API_KEYS_FILE: {error}") from None
    keys = (*map(parse_key, settings.api_keys), *file_keys)
    if len({key.name for key in keys}) < len(keys):
        raise SettingsError("GEOBENTO_API_KEYS: two keys have the same name")
    if settings.require_keys and not keys:
        raise SettingsError(
            "GEOBENTO_REQUIRE_KEYS: there are no keys; set GEOBENTO_API_KEYS or "
            "GEOBENTO_API_KEYS_FILE (geobento keys new NAME makes one)"
        )
    limits = {
        "GEOBENTO_KEY_RATE_LIMIT": settings.key_rate_limit,
        "GEOBENTO_KEY_MAX_CONCURRENCY": settings.key_max_concurrency,
    }
    for name, limit in limits.items():
        if limit is not None and not keys:
            raise SettingsError(f"{name}: this is a limit for API keys, and there are no keys")
    return keys


class ApiKeyMiddleware:
    """ASGI middleware that rejects requests without a key, or over the limits of the key.

    Args:
        app: The wrapped application.
        keys: Accepted keys; at least one.
        rate_limit: Maximum requests per second of a key; None: no limit.
        max_concurrency: Maximum concurrent requests of a key; None: no limit.
        error_formats: Formats of errors by first part of the path; by default GeoBento's own.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: Sequence[ApiKey],
        rate_limit: float | None = None,
        max_concurrency: int | None = None,
        error_formats: Mapping[str, ErrorFormat] | None = None,
    ) -> None:
        self.app = app
        self._digests = {key.name: bytes.fromhex(key.digest) for key in keys}
        self._quotas = {key.name: KeyQuota(rate_limit, max_concurrency) for key in keys}
        self._error_formats = error_formats or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request."""
        if scope["type"] != "http" or _is_public(scope["path"]):
            await self.app(scope, receive, send)
            return
        try:
            quota = self._authenticate(dict(scope["headers"]))
        except GeoBentoError as error:
            response = error_format_for(scope["path"], self._error_formats).render(error)
            if isinstance(error, Unauthorized):
                response.headers["WWW-Authenticate"] = WWW_AUTHENTICATE
            await response(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        finally:
            quota.release()

    def _authenticate(self, headers: Mapping[bytes, bytes]) -> KeyQuota:
        quota = self._quotas[self._key_name(_presented_key(headers))]
        wait = quota.acquire()
        if wait > 0:
            raise RateLimited(f"this key is at its limit: {quota}", retry_after=wait)
        return quota

    def _key_name(self, key: bytes) -> str:
        digest = hashlib.sha256(key).digest()
        # Compare with all keys, so that the time tells nothing about them.
        names = [
            name
            for name, accepted in self._digests.items()
            if hmac.compare_digest(digest, accepted)
        ]
        if not names:
            raise Unauthorized("the API key is not one that this service knows")
        return names[0]


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX)


def _presented_key(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    presented = (
        key.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"").strip()
    )
    if not presented:
        raise Unauthorized(
            "this service requires an API key, as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
        )
    return presented
