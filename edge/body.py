"""Request bodies: JSON or multipart, to a typed request or to the error that answers it."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from geobento.errors import GeoBentoError, InvalidRequest, UnsupportedMediaType
from geobento.validation import validated, validated_json

Record = TypeVar("Record", bound=BaseModel)

MAX_PARTS = 4096


async def read(
    request: Request, cls: type[Record], files: str | None = None
) -> Record | GeoBentoError:
    """Parse the body of a request.

    Args:
        request: The request; JSON, or multipart where `files` is given.
        cls: Type of the request.
        files: Name of the list field that repeated multipart parts fill.

    Returns:
        The typed request, or the error to answer. Nothing is raised, so that no layer between
        here and the answer can lose the message.
    """
    try:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
        if kind.lower() == "application/json":
            return validated_json(cls, await request.body() or b"{}")
        if kind.lower() == "multipart/form-data" and files is not None:
            return validated(cls, await _form(request, cls, files))
    except GeoBentoError as error:
        return error
    except ClientDisconnect:
        return InvalidRequest("the connection was closed before the body was complete")
    accepted = "application/json" + (" or multipart/form-data" if files is not None else "")
    return UnsupportedMediaType(f"the body is {kind!r}; accepted: {accepted}")


async def _form(request: Request, cls: type[BaseModel], files: str) -> dict[str, Any]:
    scope_limit = request.scope.get("geobento.max_body", 64 * 2**20)
    try:
        form = await request.form(
            max_files=MAX_PARTS, max_fields=MAX_PARTS, max_part_size=scope_limit
        )
    except (HTTPException, MultiPartException, ValueError, LookupError) as error:
        why = error.detail if isinstance(error, HTTPException) else str(error)
        raise InvalidRequest(f"the multipart body cannot be read: {why}") from None
    data: dict[str, Any] = {}
    for name in form:
        parts = form.getlist(name)
        if name == files:
            data[name] = [
                await part.read() if isinstance(part, UploadFile) else part for part in parts
            ]
        elif len(parts) > 1:
            raise InvalidRequest(f"the field is given {len(parts)} times", field=name)
        else:
            data[name] = _value(name, parts[0], cls)
    await form.close()
    return data


def _value(name: str, part: UploadFile | str, cls: type[BaseModel]) -> Any:
    """A form field: text where the request has text, JSON everywhere else."""
    if isinstance(part, UploadFile):
        raise InvalidRequest("this field takes a value, not a file", field=name)
    info = cls.model_fields.get(name)
    if info is None or info.annotation is str:
        return part
    try:
        return orjson.loads(part)
    except orjson.JSONDecodeError:
        return part
