"""What stands before the routes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from geobento.config import api_keys
from geobento.config.settings import Settings
from server.middleware.stack import middleware_stack
from server.openapi.docs_page import SWAGGER_UI_HTML
from tests.servers import free_port

KEY, ENTRY = api_keys.generate_key("tests")
PAGE_OF = {"Origin": "https://maps.example.com"}


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


def app(**settings: Any) -> Starlette:
    """An application behind what the settings ask for, with a key."""
    routes = [Route(path, hello) for path in ("/", "/models", "/metrics", "/livez")]
    result = middleware_stack(Settings(**settings), (ENTRY,), {})
    return Starlette(routes=routes, middleware=[Middleware(cls, **how) for cls, how in result])


def get(path: str, headers: dict[str, str] | None = None, **settings: Any) -> httpx.Response:
    """One request."""
    return ask("GET", path, headers, **settings)


def ask(
    method: str, path: str, headers: dict[str, str] | None = None, **settings: Any
) -> httpx.Response:
    """The same by any method."""

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app(**settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.request(method, path, headers=headers)

    return asyncio.run(go())


@pytest.mark.parametrize("path", ["/", "/models", "/nope"])
def test_security_headers(path: str) -> None:
    """On every answer, also on refusals; only the documentation may run its own script."""
    headers = get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; frame-ancestors 'none'")
    assert ("script-src" in policy) == (path == "/")
    assert "script-src 'unsafe-inline'" not in policy


def test_the_policy_knows_the_script_of_the_page() -> None:
    """Its hash is that of what stands between the tags; there is no other script in the page."""
    (script,) = re.findall(r"<script>(.*?)</script>", SWAGGER_UI_HTML, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in get("/").headers["content-security-policy"]


def test_a_refusal_can_be_read_by_a_page_that_may_ask() -> None:
    """CORS stands before the keys: a browser shows the 401, and not only that something failed."""
    origins = ("https://maps.example.com",)
    answer = get("/models", PAGE_OF, cors_origins=origins)
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == origins[0]
    assert "retry-after" in answer.headers["access-control-expose-headers"].lower()


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/models", {}, 401),
        ("GET", "/models", {"X-API-Key": "wrong"}, 401),
        ("POST", "/models", {"X-API-Key": KEY}, 405),
        ("GET", "/nope", {"X-API-Key": KEY, **PAGE_OF}, 404),
        ("POST", "/models", {"X-API-Key": KEY, "Content-Length": "9999999999"}, 413),
        ("GET", "/metrics", {}, 404),
        ("OPTIONS", "/models", {**PAGE_OF, "Access-Control-Request-Method": "POST"}, 200),
        ("OPTIONS", "/models", {**PAGE_OF, "Access-Control-Request-Method": "PUT"}, 400),
    ],
)
def test_headers_of_every_layer(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """The id of the request, the security headers, and of an error our body."""
    settings = {"cors_origins": (PAGE_OF["Origin"],), "metrics_port": free_port()}
    answer = ask(method, path, {"X-Request-ID": "abc", **headers}, **settings)
    assert answer.status_code == status
    assert answer.headers["x-request-id"] == "abc"
    assert answer.headers["x-content-type-options"] == "nosniff"
    if "Origin" in headers:
        assert answer.headers["access-control-allow-origin"] == PAGE_OF["Origin"]
    if status >= 400:
        assert answer.json()["error"]["type"]


def test_a_key_at_its_limit_gets_an_ordinary_error() -> None:
    """429 has the headers and the body of every refusal, and says when to come back."""

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app(key_rate_limit=0.01))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            request = {"X-API-Key": KEY, "X-Request-ID": "abc"}
            while (answer := await http.get("/models", headers=request)).is_success:
                pass
            return answer

    answer = asyncio.run(go())
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limited")
    assert answer.headers["x-request-id"] == "abc"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert int(answer.headers["retry-after"]) > 0


def test_no_origin_unless_configured() -> None:
    """Off by default."""
    assert "access-control-allow-origin" not in get("/models", PAGE_OF).headers


def test_metrics_on_another_port() -> None:
    """While the application runs the second port has probes and metrics, the first no metrics."""
    port = free_port()

    async def go() -> list[int]:
        made = app(metrics_port=port)
        sent: asyncio.Queue[Any] = asyncio.Queue()
        heard: asyncio.Queue[Any] = asyncio.Queue()
        heard.put_nowait({"type": "lifespan.startup"})
        running = asyncio.create_task(made({"type": "lifespan"}, heard.get, sent.put))
        assert (await sent.get())["type"] == "lifespan.startup.complete"
        inside = f"http://127.0.0.1:{port}"
        transport = httpx.ASGITransport(made)
        async with (
            httpx.AsyncClient() as http,
            httpx.AsyncClient(transport=transport, base_url="http://test") as outside,
        ):
            paths = ("/metrics", "/livez", "/models")
            result = [(await http.get(inside + path)).status_code for path in paths]
            result.append((await outside.get("/metrics")).status_code)
            refused = await http.get(f"{inside}/models", headers={"X-Request-ID": "abc"})
            assert refused.headers["x-request-id"] == "abc"
            assert refused.headers["x-content-type-options"] == "nosniff"
        heard.put_nowait({"type": "lifespan.shutdown"})
        await running
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{inside}/livez")
        return result

    assert asyncio.run(go()) == [200, 200, 404, 404]


def test_a_port_that_is_taken() -> None:
    """The start fails and names the variable."""

    async def go() -> Any:
        taken = await asyncio.start_server(lambda *_: None, "0.0.0.0", port := free_port())
        sent: asyncio.Queue[Any] = asyncio.Queue()
        heard: asyncio.Queue[Any] = asyncio.Queue()
        heard.put_nowait({"type": "lifespan.startup"})
        running = asyncio.create_task(
            app(metrics_port=port)({"type": "lifespan"}, heard.get, sent.put)
        )
        result = await sent.get()
        running.cancel()
        taken.close()
        return result

    result = asyncio.run(go())
    assert result["type"] == "lifespan.startup.failed"
    assert "GEOBENTO_METRICS_PORT" in result["message"]
