"""The request that is being answered: its id, its deadline, and where its time goes."""

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
    """A request.

    Attributes:
        id: What names it in answers and logs.
        model: `id:variant` of the model that it is for; empty until that is known.
        deadline: Clock time (seconds since 1970) after which nobody waits for it; None: no bound.
        stage_seconds: Time by stage.
    """

    id: str
    model: str = ""
    deadline: float | None = None
    stage_seconds: dict[str, float] = field(default_factory=dict)


_CONTEXT: ContextVar[RequestContext | None] = ContextVar("asked", default=None)


def begin_request(request_id: str | None = None) -> RequestContext:
    """Begin a request in this context, under the id that came with it where that is usable."""
    asked = RequestContext(
        request_id if request_id and _REQUEST_ID_PATTERN.fullmatch(request_id) else uuid.uuid4().hex
    )
    _CONTEXT.set(asked)
    return asked


def current_request() -> RequestContext | None:
    """The request of this context, or of the one that started this thread; None: there is none."""
    return _CONTEXT.get()


def deadline() -> float | None:
    """Its deadline."""
    asked = _CONTEXT.get()
    return None if asked is None else asked.deadline


def record_stage(stage: str, seconds: float) -> None:
    """Note time that the request took in a stage."""
    asked = _CONTEXT.get()
    if asked is not None:
        asked.stage_seconds[stage] = asked.stage_seconds.get(stage, 0.0) + seconds


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Note the time that a block takes."""
    start = time.perf_counter()
    try:
        yield
    finally:
        record_stage(name, time.perf_counter() - start)
