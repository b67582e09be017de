"""Request bodies: JSON, multipart or a bare picture, to a typed request or to an error."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import orjson
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request

from geobento.schemas.errors import GeoBentoError, InvalidRequest, UnsupportedMediaType
from geobento.schemas.validation import validate, validate_json

Record = TypeVar("Record", bound=BaseModel)
FormRecord = TypeVar("FormRecord", bound=BaseModel)

MAX_FORM_PARTS = 4096


async def read_request(
    request: Request,
    request_type: type[Record],
    file_field: str | None = None,
    form: tuple[type[FormRecord], str] | None = None,
) -> Record | FormRecord | GeoBentoError:
    """Parse the body of a request.

    Args:
        request: The request; JSON, or where `file_field` is given multipart or ``image/*``.
        request_type: Type of the request.
        file_field: Name of the list field that repeated multipart parts fill, and that a bare
            picture fills while the other fields are in the query string.
        form: Type of a multipart body where that is another one, and its field that takes a file.

    Returns:
        The typed request, or the error to answer. Nothing is raised, so that no layer between
        here and the answer can lose the message.
    """
    try:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
        if kind.lower() == "application/json":
            return validate_json(request_type, await request.body() or b"{}")
        if kind.lower() == "multipart/form-data" and form is not None:
            return validate(form[0], await _read_form(request, *form))
        if kind.lower() == "multipart/form-data" and file_field is not None:
            return validate(request_type, await _read_form(request, request_type, file_field))
        if kind.lower().startswith("image/") and file_field is not None:
            fields = _form_fields(request.query_params.multi_items(), request_type)
            return validate(request_type, {**fields, file_field: [await request.body()]})
    except GeoBentoError as error:
        return error
    except ClientDisconnect:
        return InvalidRequest("the connection was closed before the body was complete")
    accepted = "application/json"
    if form is not None:
        accepted += " or multipart/form-data"
    if file_field is not None:
        accepted += ", multipart/form-data or, for a single picture, image/*"
    return UnsupportedMediaType(f"the body is {kind!r}; accepted: {accepted}")


async def _read_form(request: Request, cls: type[BaseModel], file_field: str) -> dict[str, Any]:
    scope_limit = request.scope.get("geobento.max_body", 64 * 2**20)
    try:
        form = await request.form(
            max_files=MAX_FORM_PARTS, max_fields=MAX_FORM_PARTS, max_part_size=scope_limit
        )
    except (HTTPException, MultiPartException, ValueError, LookupError) as error:
        why = error.detail if isinstance(error, HTTPException) else str(error)
        raise InvalidRequest(f"the multipart body cannot be read: {why}") from None
    given = [(name, part) for name, part in form.multi_items() if name != file_field]
    uploads = [
        await part.read() if isinstance(part, UploadFile) else part
        for part in form.getlist(file_field)
    ]
    data = _form_fields(given, cls)
    await form.close()
    if uploads:
        data[file_field] = uploads if _is_list(file_field, cls) else _single(uploads, file_field)
    return data


def _is_list(name: str, cls: type[BaseModel]) -> bool:
    return get_origin(cls.model_fields[name].annotation) is list


def _single(uploads: list[Any], name: str) -> Any:
    if len(uploads) > 1:
        raise InvalidRequest("the field is given more than once", field=name)
    return uploads[0]


def _form_fields(
    pairs: Iterable[tuple[str, UploadFile | str]], cls: type[BaseModel]
) -> dict[str, Any]:
    """Fields that came as text: one value each, or several where the request has a list."""
    data: dict[str, Any] = {}
    several = set()
    for name, part in pairs:
        if _accepts_list(name, cls) and isinstance(part, str):
            several.add(name)
            data.setdefault(name, []).append(part)
            continue
        if name in data:
            raise InvalidRequest("the field is given more than once", field=name)
        data[name] = _field_value(name, part, cls)
    return {name: _json_list(value) if name in several else value for name, value in data.items()}


def _json_list(parts: list[str]) -> Any:
    """Texts given one by one, or all in one field as a JSON list."""
    if len(parts) == 1 and parts[0].lstrip().startswith("["):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(parts[0])
    return parts


def _accepts_list(name: str, cls: type[BaseModel]) -> bool:
    info = cls.model_fields.get(name)
    return info is not None and info.annotation == list[str]


def _field_value(name: str, part: UploadFile | str, cls: type[BaseModel]) -> Any:
    """A field as text where the request has text, as JSON everywhere else."""
    if isinstance(part, UploadFile):
        raise InvalidRequest("this field takes a value, not a file", field=name)
    known = {info.alias or attribute: info for attribute, info in cls.model_fields.items()}
    info = known.get(name)
    if info is None or _field_types(info.annotation) == {str}:
        return part
    try:
        return orjson.loads(part)
    except orjson.JSONDecodeError:
        if _field_types(info.annotation) <= {list, tuple}:
            raise InvalidRequest(
                'in a form this field is a list as JSON, such as ["a", "b"]', field=name
            ) from None
        return part


def _field_types(annotation: Any) -> set[Any]:
    """The types of values that a field takes, besides None."""
    members = (
        get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    )
    plain = [get_args(one)[0] if get_origin(one) is Annotated else one for one in members]
    return {get_origin(one) or one for one in plain} - {NoneType}
