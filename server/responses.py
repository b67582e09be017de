"""HTTP responses from results and errors."""

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
from geobento.schemas.responses import ErrorBody

logger = logging.getLogger("geobento")


class JSONBytesResponse(Response):
    """A response with a body that already is JSON text."""

    media_type = "application/json"


@dataclass(frozen=True)
class ErrorFormat:
    """Format of error bodies. Every API has its own.

    Attributes:
        to_body: The body of an error as JSON values, and its status.
        matches: Whether a decoded body already has this format.
        body_type: Type of the bodies.
    """

    to_body: Callable[[GeoBentoError], tuple[Any, int]]
    matches: Callable[[Any], bool]
    body_type: type[BaseModel]

    def render(self, error: GeoBentoError) -> Response:
        """The response for an error; counts it in the metrics."""
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
    """The format for the first part of a path; GeoBento's own by default."""
    return error_formats.get(path.strip("/").partition("/")[0], GEOBENTO_ERRORS)


def error_response(error: GeoBentoError) -> Response:
    """The response for an error in GeoBento's own format."""
    return GEOBENTO_ERRORS.render(error)


async def respond(
    work: Awaitable[bytes | Response],
    timeout_s: float,
    error_format: ErrorFormat = GEOBENTO_ERRORS,
) -> Response:
    """The response for work: its result, or its error.

    Args:
        work: Makes the JSON body, or the response.
        timeout_s: Deadline, seconds from now.
        error_format: Format of errors.
    """
    context = request_context.current_request()
    if context is not None:
        context.deadline = time.time() + timeout_s
    request_id = "" if context is None else context.id
    try:
        async with asyncio.timeout(timeout_s):
            result = await work
            return result if isinstance(result, Response) else JSONBytesResponse(result)
    except GeoBentoError as error:
        if error.status >= 500:
            logger.warning("request %s: %s: %s", request_id, error.type, error.message)
        return error_format.render(error)
    except TimeoutError:
        return error_format.render(
            DeadlineExceeded(f"the request took longer than the {timeout_s:g} s that it may take")
        )
    except Exception:
        logger.exception("request %s failed", request_id)
        return error_format.render(InternalError("the service failed; its log has the cause"))
