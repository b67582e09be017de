"""The log as JSON."""

from __future__ import annotations

import contextvars
import json
import logging
import sys

from geobento.observability import request_context
from server.logging import JSONFormatter


def line(record: logging.LogRecord) -> dict[str, object]:
    """What is written of a record."""
    written: dict[str, object] = json.loads(JSONFormatter().format(record))
    return written


def test_a_line_names_the_request_and_what_was_said() -> None:
    """Message, level, id of the request, extras; one line also for an exception."""
    record = logging.LogRecord("geobento", logging.WARNING, "f.py", 3, "%s failed", ("it",), None)
    record.path = "/image_embedding"

    def within() -> dict[str, object]:
        request_context.begin_request("abc")
        return line(record)

    written = contextvars.copy_context().run(within)
    assert (
        written.items()
        >= {
            "level": "warning",
            "logger": "geobento",
            "message": "it failed",
            "request": "abc",
            "path": "/image_embedding",
        }.items()
    )
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        record.exc_info = sys.exc_info()
    text = JSONFormatter().format(record)
    assert "\n" not in text
    assert "ValueError: first" in json.loads(text)["exception"]
