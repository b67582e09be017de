"""HTTP/1.1 with offers to upgrade that are ignored, as RFC 9110, 7.8 allows.

Java's HttpClient and ``curl --http2`` offer HTTP/2 with every request (`Upgrade: h2c`). httptools
stops at such a request and loses its body; h11 does not. So these connections are continued by
uvicorn's protocol for h11.

Written for uvicorn 0.30 to 0.54: its protocol classes, and `uvicorn.config.HTTP_PROTOCOLS`.
"""

from __future__ import annotations

from typing import Any

import httptools
import uvicorn.config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

OFFER_HEADERS = frozenset({b"upgrade", b"http2-settings"})
"""Headers of an offer, which also stand in `Connection`."""


def ignore_upgrade_offers() -> None:
    """Make uvicorn use `UpgradeIgnoringProtocol` in this process."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{UpgradeIgnoringProtocol.__name__}"


class UpgradeIgnoringProtocol(HttpToolsProtocol):
    """HTTP by httptools; a connection with an offer to upgrade continues with h11."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unparsed: bytes | None = None

    def data_received(self, data: bytes) -> None:
        """Parse data, or keep it for h11 while the response to an earlier request is sent."""
        if self._unparsed is not None:
            self._unparsed += data
            return
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
                return
            self._unparsed = self._head() + data[upgrade.args[0] :]
            if self.cycle is None or self.cycle.response_complete:
                self._continue_with_h11()
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def on_headers_complete(self) -> None:
        """Begin a request, unless it has an offer."""
        if not self._has_ignored_offer():
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if not self._has_ignored_offer():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Complete a request."""
        if not self._has_ignored_offer():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin the next request."""
        super().on_response_complete()
        if self._unparsed is not None and self.cycle.response_complete:
            self._continue_with_h11()

    def _has_ignored_offer(self) -> bool:
        return bool(self.parser.should_upgrade()) and not self._should_upgrade()

    def _head(self) -> bytes:
        """The head of the request without its offer."""
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        for name, value in self.headers:
            text = _without_offer(value) if name == b"connection" else value
            if name not in OFFER_HEADERS and (text or name != b"connection"):
                lines.append(b"%s: %s" % (name, text))
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _continue_with_h11(self) -> None:
        assert self._unparsed is not None
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        protocol = H11Protocol(
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.data_received(self._unparsed)


def _without_offer(connection: bytes) -> bytes:
    options = [option.strip() for option in connection.split(b",")]
    return b", ".join(option for option in options if option.lower() not in OFFER_HEADERS)
