"""Routes beside the typed endpoints: documentation, models, their cards, and others that POST."""

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
from server import parsing
from server.openapi.docs_page import PAGE
from server.responses import JSONBytesResponse, error_response, respond

RequestType = TypeVar("RequestType", bound=BaseModel)


def build_app(
    models: Callable[[], list[ServedModel]],
    find: Callable[[str], ServedModel],
    document: Callable[[], dict[str, Any]],
    others: Sequence[Route] = (),
) -> Starlette:
    """An ASGI app to mount beside the typed endpoints.

    Args:
        models: What is served.
        find: One of them, by id or alias; raises ModelNotFound.
        document: The OpenAPI document.
        others: Further routes.
    """

    async def docs_page(_: Request) -> Response:
        return HTMLResponse(PAGE)

    async def list_models(_: Request) -> Response:
        return JSONBytesResponse(ModelList(models=models()).model_dump_json())

    async def describe_model(request: Request) -> Response:
        try:
            return JSONBytesResponse(find(request.path_params["model_id"]).model_dump_json())
        except GeoBentoError as error:
            return error_response(error)

    async def openapi(_: Request) -> Response:
        return JSONBytesResponse(orjson.dumps(document()))

    return Starlette(
        routes=[
            Route("/", docs_page, methods=["GET"]),
            Route("/models", list_models, methods=["GET"]),
            Route("/models/{model_id}", describe_model, methods=["GET"]),
            Route("/docs.json", openapi, methods=["GET"]),
            *others,
        ]
    )


def post_route(
    path: str,
    cls: type[RequestType],
    work: Callable[[RequestType], Awaitable[BaseModel]],
    timeout_s: float,
) -> Route:
    """A route that takes a record as JSON and answers with another.

    Args:
        path: Where.
        cls: Type of the request.
        work: Makes the answer; raises GeoBentoError where there is none.
        timeout_s: Longest time for a request.
    """

    async def answer(request: Request) -> Response:
        asked = await parsing.read_request(request, cls)
        if isinstance(asked, GeoBentoError):
            return error_response(asked)

        async def written() -> bytes:
            return (await work(asked)).model_dump_json().encode()

        return await respond(written(), timeout_s)

    return Route(path, answer, methods=["POST"])
