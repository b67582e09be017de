"""Logging as one JSON object per line."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Literal

import orjson

from geobento.observability import request_context

LOGGER_NAMES = ("", "bentoml", "uvicorn.error", "circus")
"""Loggers with handlers of BentoML."""
_STANDARD_FIELDS = frozenset(logging.makeLogRecord({}).__dict__) | {
    "asctime", "message", "levelname_bracketed", "component", "trace_msg", "service_name",
    "request_id", "color_message",
}  # fmt: skip


class JSONFormatter(logging.Formatter):
    """Formats time, level, logger, message, id of the request, and extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The JSON line of a record."""
        context = request_context.current_request()
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **({"request": context.id} if context is not None else {}),
            **{
                name: value
                for name, value in record.__dict__.items()
                if name not in _STANDARD_FIELDS
            },
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure_logging(log_format: Literal["text", "json"]) -> None:
    """Set the format of existing handlers; with `json`, also log every request."""
    if log_format == "text":
        return
    for name in LOGGER_NAMES:
        for handler in logging.getLogger(name).handlers:
            handler.setFormatter(JSONFormatter())
    logging.getLogger("geobento.access").setLevel(logging.INFO)
