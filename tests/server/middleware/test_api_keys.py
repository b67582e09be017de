"""API keys in the middleware."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from compat.openai import routes as openai
from compat.vitrivr import routes
from geobento.config import api_keys
from geobento.config.settings import Settings
from geobento.schemas.errors import SettingsError
from server.middleware.api_keys import ApiKeyMiddleware, configured_keys

KEY, ENTRY = api_keys.generate_key("ours")
OTHER_KEY, OTHER = api_keys.generate_key("theirs")


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


APP = Starlette(
    routes=[Route("/{path:path}", hello, methods=["GET", "POST"]), Route("/", hello)],
)


def client(app: Any = APP, **limits: Any) -> httpx.AsyncClient:
    """A client of an app that wants a key."""
    shapes = {"v1": openai.ERROR_FORMAT, "api": routes.ERROR_FORMAT}
    guarded = ApiKeyMiddleware(app, (ENTRY, OTHER), error_formats=shapes, **limits)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://test")


def get(path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """One request."""

    async def go() -> httpx.Response:
        async with client() as http:
            return await http.get(path, headers=headers)

    return asyncio.run(go())


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {KEY} "},
        {"X-API-Key": KEY},
        {"X-API-Key": OTHER_KEY},
        {"Authorization": "Basic dTpw", "X-API-Key": KEY},
    ],
)
def test_a_known_key_opens(headers: dict[str, str]) -> None:
    """In both headers, and beside the login of a proxy."""
    assert get("/models", headers).text == "hello"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {ENTRY.digest}"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
        {"Authorization": "Bearer"},
        {"X-API-Key": ""},
        {"X-API-Key": "\xff"},
        {"Cookie": f"key={KEY}"},
    ],
)
def test_anything_else_does_not(headers: dict[str, str]) -> None:
    """No key, nearly the key, its hash, another scheme; the answer repeats none of it."""
    answer = get("/models", {name: value.encode("latin-1") for name, value in headers.items()})  # type: ignore[misc]
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="GeoBento"'
    assert answer.json()["error"]["type"] == "unauthorized"
    assert KEY[:8] not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/", "/docs.json", "/livez", "/readyz", "/healthz", "/metrics", "/static_content/ui.css"],
)
def test_paths_without_a_key(path: str) -> None:
    """Probes, metrics and the documentation."""
    assert get(path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/models/livez", "/metrics/", "/Metrics", "/static_content", "/models?path=/livez"]
)
def test_paths_that_only_start_like_them(path: str) -> None:
    """Free paths are compared as a whole."""
    assert get(path).status_code == 401


def test_every_api_has_its_own_shape() -> None:
    """Programs for OpenAI and vitrivr understand the refusal."""
    assert openai.ERROR_FORMAT.matches(get("/v1/models").json())
    assert routes.ERROR_FORMAT.matches(get("/api/tasks").json())


def test_a_key_at_its_rate() -> None:
    """429 with the time to wait, for this key alone."""

    async def go() -> list[httpx.Response]:
        async with client(rate_limit=0.01) as http:
            headers = [{"X-API-Key": key} for key in (KEY, KEY, OTHER_KEY)]
            return [await http.get("/models", headers=one) for one in headers]

    first, second, other = asyncio.run(go())
    assert [first.status_code, second.status_code, other.status_code] == [200, 429, 200]
    assert second.json()["error"]["type"] == "rate_limited"
    assert 90 < int(second.headers["retry-after"]) <= 100


def test_a_key_with_its_requests_in_flight() -> None:
    """The next is refused until one has ended, also where it ended badly."""

    async def go() -> list[int]:
        began, end = asyncio.Event(), asyncio.Event()

        async def slow(_: Request) -> Response:
            began.set()
            await end.wait()
            raise RuntimeError("defect")

        app = Starlette(routes=[Route("/slow", slow), Route("/quick", hello)])
        async with client(app, max_concurrency=1) as http:
            headers = {"X-API-Key": KEY}
            running = asyncio.create_task(http.get("/slow", headers=headers))
            await began.wait()
            result = [(await http.get("/quick", headers=headers)).status_code]
            end.set()
            with pytest.raises(RuntimeError, match="defect"):
                await running
            return [*result, (await http.get("/quick", headers=headers)).status_code]

    assert asyncio.run(go()) == [429, 200]


def test_keys_come_from_both_settings(tmp_path: Path) -> None:
    """The variable and the file, which may have comments."""
    file = tmp_path / "keys"
    file.write_text(f"# a comment\n\n {OTHER} \n")
    result = configured_keys(Settings(api_keys=(str(ENTRY),), api_keys_file=file))
    assert result == (ENTRY, OTHER)
    assert configured_keys(Settings()) == ()


@pytest.mark.parametrize(
    ("given", "text", "message"),
    [
        ({"require_keys": True}, None, "GEOBENTO_REQUIRE_KEYS: there are no keys"),
        ({"key_rate_limit": 1}, None, "GEOBENTO_KEY_RATE_LIMIT: .* no keys"),
        ({"key_max_concurrency": 1}, None, "GEOBENTO_KEY_MAX_CONCURRENCY: .* no keys"),
        ({"api_keys": (str(ENTRY), str(ENTRY))}, None, "same name"),
        ({}, "ours:secret-in-plain", "GEOBENTO_API_KEYS_FILE: an entry cannot be read"),
        ({"api_keys_file": Path("/nowhere/keys")}, None, "the file cannot be read"),
    ],
)
def test_invalid_keys(
    tmp_path: Path, given: dict[str, Any], text: str | None, message: str
) -> None:
    """The start fails with the variable's name, and shows neither key nor path."""
    if text is not None:
        given = {"api_keys_file": tmp_path / "keys"}
        given["api_keys_file"].write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        configured_keys(Settings(**given))
    assert "secret" not in str(caught.value)
    assert "nowhere" not in str(caught.value)
