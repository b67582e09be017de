"""Context of the current request: id, model, deadline, time per stage."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass
class RequestContext:
    """Context of a request.

    Attributes:
        id: Id in responses and logs.
        model: `id:variant` of its model; empty until it is known.
        deadline: Deadline, Unix seconds; None: no deadline.
        stage_seconds: Seconds by stage.
    """

    id: str
    model: str = ""
    deadline: float | None = None
    stage_seconds: dict[str, float] = field(default_factory=dict)


_CONTEXT: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def begin_request(request_id: str | None = None) -> RequestContext:
    """Begin a request in this context; an id that is missing or not valid is replaced."""
    context = RequestContext(
        request_id if request_id and _REQUEST_ID_PATTERN.fullmatch(request_id) else uuid.uuid4().hex
    )
    _CONTEXT.set(context)
    return context


def current_request() -> RequestContext | None:
    """The current request; None: there is none."""
    return _CONTEXT.get()


def deadline() -> float | None:
    """Deadline of the current request, Unix seconds."""
    context = _CONTEXT.get()
    return None if context is None else context.deadline


def record_stage(stage: str, seconds: float) -> None:
    """Add to the time that the current request spent in a stage."""
    context = _CONTEXT.get()
    if context is not None:
        context.stage_seconds[stage] = context.stage_seconds.get(stage, 0.0) + seconds


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Record the time of a block as a stage of the current request."""
    start = time.perf_counter()
    try:
        yield
    finally:
        record_stage(name, time.perf_counter() - start)
