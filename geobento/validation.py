"""What pydantic found wrong, as one error that a caller can act on."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from geobento.errors import InvalidRequest

Record = TypeVar("Record", bound=BaseModel)

_TAGS = frozenset(
    {"PointBuffer", "BBox", "range", "year", "pooled", "grid", "InputPrepSpec", "str", "bytes"}
)
"""Parts of pydantic's location that name a member of a union and not a field."""

_YEAR_FIELD = ("temporal", "year", "year")


def invalid_request(error: ValidationError) -> InvalidRequest:
    """The first problem as message and field, all of them as detail."""
    problems = [
        {"field": _path(problem["loc"]), "message": _message(problem)}
        for problem in error.errors(include_url=False, include_context=True)
    ]
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    where = f"{first['field']}: " if first["field"] else ""
    return InvalidRequest(
        f"{where}{first['message']}{more}",
        field=first["field"],
        detail=problems if len(problems) > 1 else None,
    )


def validated(cls: type[Record], data: Any) -> Record:
    """A record from Python values.

    Raises:
        InvalidRequest: The values do not make one.
    """
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise invalid_request(error) from None


def validated_json(cls: type[Record], body: bytes) -> Record:
    """A record from JSON text.

    Raises:
        InvalidRequest: The text is not JSON, or does not make one.
    """
    try:
        return cls.model_validate_json(body)
    except ValidationError as error:
        raise invalid_request(error) from None


def _path(loc: tuple[int | str, ...]) -> str | None:
    if loc == _YEAR_FIELD:
        return "temporal.year"
    # The first part is a field, whatever its name; below it, members of unions are left out.
    parts = [
        str(part)
        for position, part in enumerate(loc)
        if position == 0 or isinstance(part, int) or (part not in _TAGS and part.isidentifier())
    ]
    return ".".join(parts) or None


def _message(problem: Any) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    kind = problem["type"]
    if kind == "json_invalid":
        return message.replace("Invalid JSON", "the body is not valid JSON")
    if kind == "extra_forbidden":
        return "there is no such parameter"
    if kind == "missing":
        return "this parameter is required"
    if kind == "union_tag_invalid":
        expected = problem.get("ctx", {}).get("expected_tags", "")
        tag = problem.get("ctx", {}).get("tag")
        return f"{tag!r} is not known; accepted: {expected}"
    return message[:1].lower() + message[1:] if message[1:2].islower() else message
