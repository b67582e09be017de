"""Routes beside the typed endpoints: documentation and models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from geobento.schemas.cards import ModelList, ServedModel
from geobento.schemas.errors import GeoBentoError
from geobento.version import __version__
from server import parsing
from server.openapi.docs_page import SWAGGER_UI_HTML
from server.responses import JSONBytesResponse, error_response, respond

RequestType = TypeVar("RequestType", bound=BaseModel)


def build_app(
    get_models: Callable[[], list[ServedModel]],
    find_model: Callable[[str], ServedModel],
    get_document: Callable[[], dict[str, Any]],
    extra_routes: Sequence[Route] = (),
) -> Starlette:
    """An ASGI app to mount beside the typed endpoints.

    Args:
        get_models: The served models.
        find_model: A served model by id or alias; raises ModelNotFound.
        get_document: The OpenAPI document.
        extra_routes: Additional routes.
    """

    async def docs_page(_: Request) -> Response:
        return HTMLResponse(SWAGGER_UI_HTML)

    async def list_models(_: Request) -> Response:
        return JSONBytesResponse(ModelList(models=get_models()).model_dump_json())

    async def describe_model(request: Request) -> Response:
        try:
            return JSONBytesResponse(find_model(request.path_params["model_id"]).model_dump_json())
        except GeoBentoError as error:
            return error_response(error)

    async def info(_: Request) -> Response:
        names = [served.name for served in get_models()]
        return JSONBytesResponse(
            orjson.dumps({"name": "geobento", "version": __version__, "models": names})
        )

    async def favicon(_: Request) -> Response:
        return Response(status_code=204)

    async def openapi(_: Request) -> Response:
        return JSONBytesResponse(orjson.dumps(get_document()))

    return Starlette(
        routes=[
            Route("/", docs_page, methods=["GET"]),
            Route("/models", list_models, methods=["GET"]),
            Route("/models/{model_id}", describe_model, methods=["GET"]),
            Route("/docs.json", openapi, methods=["GET"]),
            Route("/info", info, methods=["GET"]),
            Route("/favicon.ico", favicon, methods=["GET"]),
            *extra_routes,
        ]
    )


def post_route(
    path: str,
    request_type: type[RequestType],
    handler: Callable[[RequestType], Awaitable[BaseModel]],
    timeout_s: float,
) -> Route:
    """A route with a JSON request and a JSON response.

    Args:
        path: Path of the route.
        request_type: Type of the request.
        handler: Makes the response; raises GeoBentoError.
        timeout_s: Deadline of a request, seconds.
    """

    async def endpoint(http_request: Request) -> Response:
        request = await parsing.read_request(http_request, request_type)
        if isinstance(request, GeoBentoError):
            return error_response(request)

        async def body() -> bytes:
            return (await handler(request)).model_dump_json().encode()

        return await respond(body(), timeout_s)

    return Route(path, endpoint, methods=["POST"])
