"""Parsing of request bodies: JSON, multipart forms, bare images."""

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
        request: The HTTP request: JSON; with `file_field` also multipart or ``image/*``.
        request_type: Type of the request.
        file_field: Name of the list field for files of a multipart form, or for the bare image; the
            other fields are then in the query string.
        form: Type of a multipart body, if it is not `request_type`, and its field for the file.

    Returns:
        The typed request, or the error to respond with. It is not raised, so that no layer in
        between can lose its message.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        return UnsupportedMediaType(
            f"the body has Content-Encoding {encoding!r}; accepted: a body without compression"
        )
    try:
        content_type = (
            request.headers.get("content-type", "application/json").partition(";")[0].strip()
        )
        if content_type.lower() == "application/json":
            return validate_json(request_type, await request.body() or b"{}")
        if content_type.lower() == "multipart/form-data" and form is not None:
            return validate(form[0], await _read_form(request, *form))
        if content_type.lower() == "multipart/form-data" and file_field is not None:
            return validate(request_type, await _read_form(request, request_type, file_field))
        if content_type.lower().startswith("image/") and file_field is not None:
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
        accepted += ", multipart/form-data or, for a single image, image/*"
    return UnsupportedMediaType(f"the body is {content_type!r}; accepted: {accepted}")


async def _read_form(request: Request, cls: type[BaseModel], file_field: str) -> dict[str, Any]:
    scope_limit = request.scope.get("geobento.max_body", 64 * 2**20)
    try:
        form = await request.form(
            max_files=MAX_FORM_PARTS, max_fields=MAX_FORM_PARTS, max_part_size=scope_limit
        )
    except (HTTPException, MultiPartException, ValueError, LookupError) as error:
        reason = error.detail if isinstance(error, HTTPException) else str(error)
        raise InvalidRequest(f"the multipart body cannot be read: {reason}") from None
    fields = [(name, part) for name, part in form.multi_items() if name != file_field]
    known = {info.alias or attribute for attribute, info in cls.model_fields.items()}
    for name, part in fields:
        if isinstance(part, UploadFile) and name not in known:
            raise InvalidRequest(
                f"there is no field {name!r}; files go into {file_field!r}", field=name
            )
    uploads = [
        await part.read() if isinstance(part, UploadFile) else part
        for part in form.getlist(file_field)
    ]
    data = _form_fields(fields, cls)
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
    """Fields from text: one value each; several for a list of the request."""
    data: dict[str, Any] = {}
    repeated = set()
    for name, part in pairs:
        if _accepts_list(name, cls) and isinstance(part, str):
            repeated.add(name)
            data.setdefault(name, []).append(part)
            continue
        if name in data:
            raise InvalidRequest("the field is given more than once", field=name)
        data[name] = _field_value(name, part, cls)
    return {name: _json_list(value) if name in repeated else value for name, value in data.items()}


def _json_list(parts: list[str]) -> Any:
    """Texts of repeated fields, or of one field as a JSON list."""
    if len(parts) == 1 and parts[0].lstrip().startswith("["):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(parts[0])
    return parts


def _accepts_list(name: str, cls: type[BaseModel]) -> bool:
    info = cls.model_fields.get(name)
    return info is not None and info.annotation == list[str]


def _field_value(name: str, part: UploadFile | str, cls: type[BaseModel]) -> Any:
    """The value of a field: text if the request has text, JSON otherwise."""
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
    """The types that a field accepts, except None."""
    members = (
        get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    )
    plain = [
        get_args(member)[0] if get_origin(member) is Annotated else member for member in members
    ]
    return {get_origin(member) or member for member in plain} - {NoneType}
