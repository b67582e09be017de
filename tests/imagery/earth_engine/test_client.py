"""Opening Earth Engine: where it points, and with which credentials."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import ee
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from geobento.schemas.errors import ModelError, SourceError
from imagery.earth_engine.client import (
    EarthEngineClient,
    HttpxTransport,
    RequestTooLarge,
    map_http_error,
)
from imagery.earth_engine.rate_limiter import ProcessSharedRateLimiter
from imagery.retry import TransientError
from tests.imagery.conftest import PROJECT, open_client
from tests.imagery.ee_server import Standin


def opened(tmp_path: Path, **given: Any) -> EarthEngineClient:
    """A client with short patience."""
    limiter = ProcessSharedRateLimiter(tmp_path / "limits", 2, 1e6)
    return EarthEngineClient(
        PROJECT, **{"url": None, "key_file": None, "limiter": limiter, "timeout_s": 1.0, **given}
    )


def test_no_credentials_go_over_plain_http(standin: Standin, tmp_path: Path) -> None:
    """A request to a plain-http server carries no credentials, only the project."""
    client = open_client(standin, tmp_path)
    assert client.call(lambda: ee.Number(3).getInfo(), time.monotonic() + 5) == 3
    (request,) = standin.requests
    assert "authorization" not in request.headers
    assert request.headers["x-goog-user-project"] == PROJECT


def test_a_key_and_plain_http_do_not_go_together(tmp_path: Path) -> None:
    """The contradiction is an error, which does not show the path of the key."""
    with pytest.raises(SourceError, match="plain http") as caught:
        opened(tmp_path, url="http://127.0.0.1:9", key_file=tmp_path / "key.json")
    assert str(tmp_path) not in caught.value.message


def test_with_credentials_nothing_goes_over_plain_http() -> None:
    """Not even the request for a token to an address that a key names."""
    with pytest.raises(SourceError, match="plain http"):
        HttpxTransport(https_only=True).request("http://127.0.0.1:9/token", "POST", "secret")


@pytest.mark.parametrize("content", [None, "nonsense", "{}", '{"type": "authorized_user"}'])
def test_invalid_key_files(tmp_path: Path, content: str | None) -> None:
    """A missing or unusable key file names its variable, not its path."""
    key = tmp_path / "key.json"
    if content is not None:
        key.write_text(content)
    with pytest.raises(SourceError, match="GEOBENTO_EE_KEY_FILE") as caught:
        opened(tmp_path, key_file=key)
    assert str(tmp_path) not in caught.value.message


def test_the_token_of_a_key_is_not_asked_for_over_plain_http(
    standin: Standin, tmp_path: Path
) -> None:
    """A service account's signed word stays here if its key names an address without https."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = tmp_path / "key.json"
    record = {
        "type": "service_account",
        "client_email": "someone@some-project.iam.gserviceaccount.com",
        "private_key": pem.decode(),
        "token_uri": f"{standin.url}/token",
    }
    file.write_text(json.dumps(record))
    with pytest.raises(SourceError, match="plain http"):
        opened(tmp_path, key_file=file)
    assert standin.requests == []


def test_missing_credentials_name_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says how to log in, before anything is sent."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    commands = f"`earthengine authenticate` and `earthengine set_project {PROJECT}`"
    with pytest.raises(SourceError, match=commands):
        opened(tmp_path)


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A closed port: the error names Earth Engine."""
    with pytest.raises(SourceError, match="Earth Engine"):
        opened(tmp_path, url="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (429, "Too Many Requests", TransientError),
        (503, "unavailable", TransientError),
        (400, "User memory limit exceeded.", RequestTooLarge),
        (400, "Computation timed out.", RequestTooLarge),
        (
            400,
            "Total request size (9 bytes) must be less than or equal to 8 bytes.",
            RequestTooLarge,
        ),
        (400, "Image.select: Band pattern 'N' did not match any bands.", ModelError),
        (400, "ImageCollection asset 'X' not found.", SourceError),
        (403, "no permission", SourceError),
        (418, "teapot", SourceError),
    ],
)
def test_errors_by_status(status: int, message: str, kind: type[Exception]) -> None:
    """What may pass, what has to be made smaller, and what is final."""
    assert type(map_http_error(status, message, {}, PROJECT)) is kind


def test_a_busy_server_says_for_how_long() -> None:
    """Retry-After goes to the retries and to the client."""
    failure = map_http_error(429, "busy", {"retry-after": "7"}, PROJECT)
    assert isinstance(failure, TransientError)
    assert failure.retry_after == failure.error.retry_after == 7


def test_the_library_keeps_to_its_host(standin: Standin, tmp_path: Path) -> None:
    """The library's own request for outdated collections, elsewhere, is not made."""
    open_client(standin, tmp_path)
    assert ee.deprecation._FetchDataCatalogStac() == {}
    assert ee.data._get_state().max_retries == 0
