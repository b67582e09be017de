"""SAS tokens for the storage containers of the Planetary Computer."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from threading import Lock

import httpx

from geobento.schemas.errors import SourceError
from imagery.stac.http import HttpJsonClient

EXPIRY_MARGIN = timedelta(minutes=2)
"""A token is renewed this long before it expires, so that reads end in time."""
_STORAGE_NAME = re.compile(r"[a-z0-9$-]{1,63}")


class SasTokenSigner:
    """Appends the SAS token of its container to the URL of a file. Thread-safe.

    Args:
        token_url: Token endpoint, completed by ``/<account>/<container>``.
        http_client: HTTP client for the endpoint.
    """

    def __init__(self, token_url: str, http_client: HttpJsonClient) -> None:
        self._token_url = token_url
        self._http_client = http_client
        self._lock = Lock()
        self._tokens: dict[tuple[str, str], tuple[datetime, str]] = {}

    def __call__(self, url: httpx.URL, deadline: float) -> httpx.URL:
        """Sign a URL.

        Args:
            url: URL of a file: ``https://<account>.<host>/<container>/...``.
            deadline: Instant of `time.monotonic` at which the request ends.

        Raises:
            SourceError: There is no token for the URL.
        """
        account, container = url.host.split(".")[0], url.path.lstrip("/").split("/")[0]
        if not (_STORAGE_NAME.fullmatch(account) and _STORAGE_NAME.fullmatch(container)):
            raise SourceError("the catalog refers to a file outside of any storage container")
        token = self._get_token(account, container, deadline)
        query = b"&".join(part for part in (url.query, token.encode("ascii")) if part)
        return url.copy_with(query=query)

    def _get_token(self, account: str, container: str, deadline: float) -> str:
        with self._lock:
            expires_at, token = self._tokens.get((account, container), (datetime.min, ""))
            if not token or expires_at - EXPIRY_MARGIN <= datetime.now(UTC):
                response = self._http_client.request_json(
                    f"{self._token_url}/{account}/{container}", deadline
                )
                try:
                    token = response["token"]
                    expires_at = datetime.fromisoformat(response["msft:expiry"])
                    if not (token.isascii() and token.isprintable() and expires_at.tzinfo):
                        raise ValueError
                except (KeyError, ValueError, TypeError, AttributeError) as error:
                    raise SourceError("the response of the token endpoint has no token") from error
                self._tokens[account, container] = expires_at, token
            return token
