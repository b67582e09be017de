"""The GET routes: documentation, models, their cards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from edge.answers import JSONBytes, problem
from edge.docs_page import PAGE
from geobento.cards import ModelList, ServedModel
from geobento.errors import GeoBentoError


def app(
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
        others: Routes of other APIs.
    """

    async def docs_page(_: Request) -> Response:
        return HTMLResponse(PAGE)

    async def list_models(_: Request) -> Response:
        return JSONBytes(ModelList(models=models()).model_dump_json())

    async def describe_model(request: Request) -> Response:
        try:
            return JSONBytes(find(request.path_params["model_id"]).model_dump_json())
        except GeoBentoError as error:
            return problem(error)

    async def openapi(_: Request) -> Response:
        return JSONBytes(orjson.dumps(document()))

    return Starlette(
        routes=[
            Route("/", docs_page, methods=["GET"]),
            Route("/models", list_models, methods=["GET"]),
            Route("/models/{model_id}", describe_model, methods=["GET"]),
            Route("/docs.json", openapi, methods=["GET"]),
            *others,
        ]
    )
