"""The one place where results and errors become HTTP answers."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable

import orjson
from starlette.responses import Response

from geobento.errors import DeadlineExceeded, GeoBentoError, InternalError

logger = logging.getLogger("geobento")


class JSONBytes(Response):
    """An answer whose body is JSON text already."""

    media_type = "application/json"


def problem(error: GeoBentoError) -> Response:
    """The answer for an error: its status and ``{"error": {...}}``."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    return JSONBytes(orjson.dumps(error.body(), default=str), error.status, headers)


async def answered(work: Awaitable[bytes], timeout_s: float) -> Response:
    """The answer for work that gives a JSON body, whatever becomes of it."""
    try:
        async with asyncio.timeout(timeout_s):
            return JSONBytes(await work)
    except GeoBentoError as error:
        if error.status >= 500:
            logger.warning("%s: %s", error.type, error.message)
        return problem(error)
    except TimeoutError:
        return problem(
            DeadlineExceeded(f"the request took longer than the {timeout_s:g} s that it may take")
        )
    except Exception:
        logger.exception("a request failed")
        return problem(InternalError("the service failed; its log has the cause"))
