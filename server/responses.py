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


class JSONBytes(Response):
    """An answer whose body is JSON text already."""

    media_type = "application/json"


@dataclass(frozen=True)
class ErrorShape:
    """How errors look under some paths: a program expects those of the API that it speaks.

    Attributes:
        answer: Body of an error as JSON values, and its status.
        fits: Whether a decoded body is of this shape already.
        body: Type of the bodies.
    """

    answer: Callable[[GeoBentoError], tuple[Any, int]]
    fits: Callable[[Any], bool]
    body: type[BaseModel]

    def problem(self, error: GeoBentoError) -> Response:
        """The answer for an error, which is counted."""
        metrics.ERRORS.labels(error.type).inc()
        headers = {}
        if error.retry_after is not None:
            headers["Retry-After"] = str(math.ceil(error.retry_after))
        body, status = self.answer(error)
        return JSONBytes(orjson.dumps(body, default=str), status, headers)


def _is_ours(body: Any) -> bool:
    error = body.get("error") if isinstance(body, dict) else None
    return isinstance(error, dict) and {"type", "message", "field", "detail"} <= error.keys()


OURS = ErrorShape(lambda error: (error.body(), error.status), _is_ours, ErrorBody)
"""``{"error": {"type", "message", "field", "detail"}}``."""


def shape_of(path: str, shapes: Mapping[str, ErrorShape]) -> ErrorShape:
    """How errors look under a path, by its first part; ours where that is not named."""
    return shapes.get(path.strip("/").partition("/")[0], OURS)


def problem(error: GeoBentoError) -> Response:
    """The answer for an error in our own shape."""
    return OURS.problem(error)


async def answered(work: Awaitable[bytes], timeout_s: float, shape: ErrorShape = OURS) -> Response:
    """The answer for work that gives a JSON body, whatever becomes of it."""
    asked = request_context.get()
    if asked is not None:
        asked.deadline = time.time() + timeout_s
    name = "" if asked is None else asked.id
    try:
        async with asyncio.timeout(timeout_s):
            return JSONBytes(await work)
    except GeoBentoError as error:
        if error.status >= 500:
            logger.warning("request %s: %s: %s", name, error.type, error.message)
        return shape.problem(error)
    except TimeoutError:
        return shape.problem(
            DeadlineExceeded(f"the request took longer than the {timeout_s:g} s that it may take")
        )
    except Exception:
        logger.exception("request %s failed", name)
        return shape.problem(InternalError("the service failed; its log has the cause"))
