"""Requests to a catalog over HTTP, beside what `catalogs/test_api_faults.py` covers."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from geobento.schemas.errors import QuotaError, SourceError, SourceUnavailable
from imagery.retry import TransientError
from imagery.stac import http
from imagery.stac.http import HostAllowlist, HttpJsonClient, map_http_error
from tests.imagery.stac_server import Fault, StacServer


def test_an_answer_that_is_too_long(stac: StacServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken in to its end, nor asked for again."""
    monkeypatch.setattr(http, "MAX_RESPONSE_BYTES", 1000)
    stac.reset(faults={"landing": [Fault(body='{"a": "' + "b" * 2000 + '"}')]})
    client = HttpJsonClient(HostAllowlist([stac.url.split("//")[1]], allow_http=True))
    with pytest.raises(SourceError, match="too long"):
        client.request_json(f"{stac.url}/api", time.monotonic() + 10)
    assert len(stac.requests("landing")) == 1


@pytest.mark.parametrize(
    ("status", "error", "again"),
    [
        (429, QuotaError, True),
        (503, SourceUnavailable, True),
        (500, SourceUnavailable, True),
        (403, SourceError, False),
        (301, SourceError, False),
        (404, SourceError, False),
    ],
)
def test_errors_by_status(status: int, error: type[SourceError], again: bool) -> None:
    """Temporary failures are retried, after the wait that the server asks for."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30))
    for header, minimum, maximum in (("12", 12, 12), (date, 20, 30)):
        failure = map_http_error("a.example", status, {"retry-after": header})
        assert isinstance(failure, TransientError) == again
        result = failure.error if isinstance(failure, TransientError) else failure
        assert type(result) is error
        assert str(status) in result.message or "redirects" in result.message
        assert result.message.startswith("a.example")
        if isinstance(failure, TransientError):
            assert failure.retry_after is not None
            assert minimum <= failure.retry_after <= maximum
            assert result.retry_after == failure.retry_after
