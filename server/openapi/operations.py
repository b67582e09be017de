"""What an OpenAPI document says of routes, whatever API they belong to."""

from __future__ import annotations

import string
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import orjson
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from geobento.schemas.errors import GeoBentoError
from server.responses import GEOBENTO_ERRORS, ErrorFormat

REF_TEMPLATE = "#/components/schemas/{model}"

ErrorOrType = GeoBentoError | type[GeoBentoError]
"""An error as it would be answered; a class stands for one with its own description."""


@dataclass(frozen=True)
class Tag:
    """Operations that are shown together.

    Attributes:
        name: Heading.
        description: What they are for.
    """

    name: str
    description: str


@dataclass(frozen=True)
class Parameter:
    """A part of a path.

    Attributes:
        description: What it is.
        example: A value.
        allowed_values: All values; empty: any.
    """

    description: str
    example: str
    allowed_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlternateBody:
    """Another body than JSON.

    Attributes:
        schema: A type, or its schema.
        encoding: How fields are written that are not text.
    """

    schema: type[BaseModel] | dict[str, Any]
    encoding: Mapping[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class AlternateBodies:
    """Other bodies than JSON.

    Attributes:
        bodies: By content type.
        parameters: Fields in the query string, as the document has them.
    """

    bodies: Mapping[str, AlternateBody] = field(default_factory=dict)
    parameters: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes:
        id: Name in generated clients; never changes.
        method: In small letters.
        path: With parameters in braces.
        tag: Where it is shown.
        summary: Some words.
        response_type: Type of the answer with status 200.
        errors: What else can be answered.
        request_type: Type of the body.
        alternate_bodies: Other bodies.
        parameters: The parameters of the path.
        response_description: What the answer is; None: the summary.
        response_example: An answer.
        error_format: How errors look.
        media_type: Of the answer.
        is_public: Whether it never wants an API key.
    """

    id: str
    method: str
    path: str
    tag: Tag
    summary: str
    response_type: Any
    errors: tuple[ErrorOrType, ...] = ()
    request_type: type[BaseModel] | None = None
    alternate_bodies: AlternateBodies = AlternateBodies()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    response_description: str | None = None
    response_example: Any = None
    error_format: ErrorFormat = GEOBENTO_ERRORS
    media_type: str = "application/json"
    is_public: bool = False


def path_items(operations: Sequence[Operation]) -> dict[str, Any]:
    """The operations by path and method."""
    written = _schemas(operations, "serialization")[0]
    taken = _schemas(operations, "validation")[0]
    found: dict[str, Any] = {}
    for operation in operations:
        described = _describe(operation, written, taken)
        found.setdefault(operation.path, {})[operation.method] = described
    return found


def component_schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    """Schemas of all types; answers as they are written, requests as they are read."""
    found = _schemas(operations, "serialization")[1] | _schemas(operations, "validation")[1]
    return {name: _without_object_defaults(schema) for name, schema in found.items()}


def operation_tags(operations: Sequence[Operation]) -> list[dict[str, str]]:
    """The tags in the order of their first operations."""
    return [
        {"name": tag.name, "description": tag.description}
        for tag in dict.fromkeys(operation.tag for operation in operations)
    ]


def _without_object_defaults(schema: Any) -> Any:
    """A schema whose defaults that are records stand in words: generators of clients fail on them.

    Args:
        schema: Of a type, or any part of one.
    """
    if isinstance(schema, list):
        return [_without_object_defaults(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _without_object_defaults(part) for name, part in schema.items()}
    default = found.get("default")
    if isinstance(default, dict) and default and "description" in found:
        del found["default"]
        found["description"] += f" Default: `{orjson.dumps(default).decode()}`."
    return found


SchemasByType = dict[tuple[Hashable, JsonSchemaMode], Any]


def _schemas(
    operations: Sequence[Operation], mode: JsonSchemaMode
) -> tuple[SchemasByType, dict[str, Any]]:
    """Schemas by id of the operation (of errors and forms by type), and what they refer to."""
    types: dict[Hashable, Any] = {}
    for operation in operations:
        if mode == "serialization":
            types[operation.id] = operation.response_type
            types[operation.error_format.body_type] = operation.error_format.body_type
        elif operation.request_type is not None:
            types[operation.id] = operation.request_type
            forms = [form.schema for form in operation.alternate_bodies.bodies.values()]
            types |= {schema: schema for schema in forms if isinstance(schema, type)}
    inputs = [(name, mode, TypeAdapter(cls)) for name, cls in types.items()]
    schemas, definitions = TypeAdapter.json_schemas(inputs, ref_template=REF_TEMPLATE)
    return schemas, definitions.get("$defs", {})


def _describe(
    operation: Operation, response_schemas: SchemasByType, request_schemas: SchemasByType
) -> dict[str, Any]:
    answer = _response_object(
        operation.response_description or operation.summary,
        response_schemas[operation.id, "serialization"],
        operation.response_example,
        operation.media_type,
    )
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag.name],
        "responses": {"200": answer, **_error_responses(operation, response_schemas)},
    }
    parameters = [*_path_parameters(operation), *operation.alternate_bodies.parameters]
    if parameters:
        described["parameters"] = parameters
    if operation.is_public:
        described["security"] = []
    if operation.request_type is not None:
        described["description"] = operation.request_type.__doc__
        json = {"application/json": {"schema": request_schemas[operation.id, "validation"]}}
        forms = {
            kind: _form_schema(form, request_schemas)
            for kind, form in operation.alternate_bodies.bodies.items()
        }
        described["requestBody"] = {"required": True, "content": json | forms}
    return described


def _form_schema(form: AlternateBody, request_schemas: SchemasByType) -> dict[str, Any]:
    schema = (
        form.schema if isinstance(form.schema, dict) else request_schemas[form.schema, "validation"]
    )
    return {"schema": schema} | ({"encoding": dict(form.encoding)} if form.encoding else {})


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    found = []
    for _, name, _, _ in string.Formatter().parse(operation.path):
        if name is None:
            continue
        parameter = operation.parameters[name]
        schema: dict[str, Any] = {"type": "string"}
        if parameter.allowed_values:
            schema["enum"] = list(parameter.allowed_values)
        found.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": parameter.description,
                "schema": schema,
                "example": parameter.example,
            }
        )
    return found


def _error_responses(operation: Operation, response_schemas: SchemasByType) -> dict[str, Any]:
    schema = response_schemas[operation.error_format.body_type, "serialization"]
    found = {}
    errors = sorted(map(_error_example, operation.errors), key=lambda error: error.status)
    for status, several in groupby(errors, key=lambda error: error.status):
        first, *others = several
        meaning = " Or: ".join(error.message for error in (first, *others))
        found[str(status)] = _response_object(
            meaning, schema, operation.error_format.to_body(first)[0]
        )
    return found


def _error_example(failure: ErrorOrType) -> GeoBentoError:
    if isinstance(failure, GeoBentoError):
        return failure
    return failure((failure.__doc__ or "").split("\n")[0])


def _response_object(
    description: str, schema: Any, example: Any, media_type: str = "application/json"
) -> dict[str, Any]:
    content = {"schema": schema} | ({} if example is None else {"example": example})
    return {"description": description, "content": {media_type: content}}
