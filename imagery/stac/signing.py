"""Tokens that let a reader into the storage containers of Planetary Computer."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from threading import Lock

import httpx

from geobento.schemas.errors import SourceError
from imagery.stac.http import HttpJsonClient

EXPIRY_MARGIN = timedelta(minutes=2)
"""A token is not used for the last part of its time, so that a read ends within it."""
_STORAGE_NAME = re.compile(r"[a-z0-9$-]{1,63}")


class SasTokenSigner:
    """Adds the token of its container to the address of a file. Safe for several threads.

    Args:
        token_url: Where tokens are asked for, by ``/<account>/<container>``.
        http_client: How.
    """

    def __init__(self, token_url: str, http_client: HttpJsonClient) -> None:
        self._token_url = token_url
        self._http_client = http_client
        self._lock = Lock()
        self._tokens: dict[tuple[str, str], tuple[datetime, str]] = {}

    def __call__(self, url: httpx.URL, deadline: float) -> httpx.URL:
        """An address that is let in.

        Args:
            url: Of a file: ``https://<account>.<host>/<container>/...``.
            deadline: Instant of `time.monotonic` at which all ends.

        Raises:
            SourceError: No token is to be had.
        """
        account, container = url.host.split(".")[0], url.path.lstrip("/").split("/")[0]
        if not (_STORAGE_NAME.fullmatch(account) and _STORAGE_NAME.fullmatch(container)):
            raise SourceError("the catalog refers to a file that lies in no storage container")
        token = self._get_token(account, container, deadline)
        query = b"&".join(part for part in (url.query, token.encode("ascii")) if part)
        return url.copy_with(query=query)

    def _get_token(self, account: str, container: str, deadline: float) -> str:
        with self._lock:
            until, token = self._tokens.get((account, container), (datetime.min, ""))
            if not token or until - EXPIRY_MARGIN <= datetime.now(UTC):
                answer = self._http_client.request_json(
                    f"{self._token_url}/{account}/{container}", deadline
                )
                try:
                    token = answer["token"]
                    until = datetime.fromisoformat(answer["msft:expiry"])
                    if not (token.isascii() and token.isprintable() and until.tzinfo):
                        raise ValueError
                except (KeyError, ValueError, TypeError, AttributeError) as error:
                    raise SourceError("the answer to a request for a token has none") from error
                self._tokens[account, container] = until, token
            return token
