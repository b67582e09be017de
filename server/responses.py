"""The one place where results and errors become HTTP answers."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.responses import Response

from geobento.observability import metrics, request_context
from geobento.schemas.errors import DeadlineExceeded, GeoBentoError, InternalError
from geobento.schemas.requests import ErrorBody

logger = logging.getLogger("geobento")


class JSONBytesResponse(Response):
    """An answer whose body is JSON text already."""

    media_type = "application/json"


@dataclass(frozen=True)
class ErrorFormat:
    """How errors look under some paths: a program expects those of the API that it speaks.

    Attributes:
        to_body: Body of an error as JSON values, and its status.
        matches: Whether a decoded body is of this shape already.
        body_type: Type of the bodies.
    """

    to_body: Callable[[GeoBentoError], tuple[Any, int]]
    matches: Callable[[Any], bool]
    body_type: type[BaseModel]

    def render(self, error: GeoBentoError) -> Response:
        """The answer for an error, which is counted."""
        metrics.ERRORS.labels(error.type).inc()
        headers = {}
        if error.retry_after is not None:
            headers["Retry-After"] = str(math.ceil(error.retry_after))
        body, status = self.to_body(error)
        return JSONBytesResponse(orjson.dumps(body, default=str), status, headers)


def _is_geobento_error(body: Any) -> bool:
    error = body.get("error") if isinstance(body, dict) else None
    return isinstance(error, dict) and {"type", "message", "field", "detail"} <= error.keys()


GEOBENTO_ERRORS = ErrorFormat(
    lambda error: (error.body(), error.status), _is_geobento_error, ErrorBody
)
"""``{"error": {"type", "message", "field", "detail"}}``."""


def error_format_for(path: str, error_formats: Mapping[str, ErrorFormat]) -> ErrorFormat:
    """How errors look under a path, by its first part; ours where that is not named."""
    return error_formats.get(path.strip("/").partition("/")[0], GEOBENTO_ERRORS)


def error_response(error: GeoBentoError) -> Response:
    """The answer for an error in our own shape."""
    return GEOBENTO_ERRORS.render(error)


async def respond(
    work: Awaitable[bytes], timeout_s: float, error_format: ErrorFormat = GEOBENTO_ERRORS
) -> Response:
    """The answer for work that gives a JSON body, whatever becomes of it."""
    asked = request_context.current_request()
    if asked is not None:
        asked.deadline = time.time() + timeout_s
    name = "" if asked is None else asked.id
    try:
        async with asyncio.timeout(timeout_s):
            return JSONBytesResponse(await work)
    except GeoBentoError as error:
        if error.status >= 500:
            logger.warning("request %s: %s: %s", name, error.type, error.message)
        return error_format.render(error)
    except TimeoutError:
        return error_format.render(
            DeadlineExceeded(f"the request took longer than the {timeout_s:g} s that it may take")
        )
    except Exception:
        logger.exception("request %s failed", name)
        return error_format.render(InternalError("the service failed; its log has the cause"))
