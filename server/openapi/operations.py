"""OpenAPI descriptions of routes, for every API."""

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
"""An error; a class stands for an error with its docstring as message."""


@dataclass(frozen=True)
class Tag:
    """A group of operations.

    Attributes:
        name: Heading.
        description: Purpose of the operations.
    """

    name: str
    description: str


@dataclass(frozen=True)
class Parameter:
    """A path parameter.

    Attributes:
        description: Its meaning.
        example: A value.
        allowed_values: Accepted values; empty: any.
    """

    description: str
    example: str
    allowed_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlternateBody:
    """A body other than JSON.

    Attributes:
        schema: A type, or its schema.
        encoding: Encodings of fields that are not text.
    """

    schema: type[BaseModel] | dict[str, Any]
    encoding: Mapping[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class AlternateBodies:
    """Bodies other than JSON.

    Attributes:
        bodies: Bodies by content type.
        parameters: OpenAPI parameters of the fields in the query string.
    """

    bodies: Mapping[str, AlternateBody] = field(default_factory=dict)
    parameters: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes:
        id: Name in generated clients; must not change.
        method: HTTP method in lower case.
        path: Path with parameters in braces.
        tag: Group of the operation.
        summary: One line.
        response_type: Type of a response with status 200.
        errors: Errors of the operation.
        request_type: Type of the JSON body.
        alternate_bodies: Other bodies.
        parameters: Path parameters.
        response_description: Description of the response; None: the summary.
        response_example: An example of the response.
        error_format: Format of errors.
        media_type: Media type of the response.
        is_public: Whether it never requires an API key.
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
    response_schemas = _schemas(operations, "serialization")[0]
    request_schemas = _schemas(operations, "validation")[0]
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _describe(
            operation, response_schemas, request_schemas
        )
    return paths


def component_schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    """Schemas of all types: responses as serialized, requests as validated."""
    schemas = _schemas(operations, "serialization")[1] | _schemas(operations, "validation")[1]
    return {name: _without_object_defaults(schema) for name, schema in schemas.items()}


def operation_tags(operations: Sequence[Operation]) -> list[dict[str, str]]:
    """The tags in the order of their first operations."""
    return [
        {"name": tag.name, "description": tag.description}
        for tag in dict.fromkeys(operation.tag for operation in operations)
    ]


def _without_object_defaults(schema: Any) -> Any:
    """A schema with defaults that are objects in its description: client generators fail on them.

    Args:
        schema: Schema of a type, or a part of one.
    """
    if isinstance(schema, list):
        return [_without_object_defaults(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _without_object_defaults(part) for name, part in schema.items()}
    default = plain.get("default")
    if isinstance(default, dict) and default and "description" in plain:
        del plain["default"]
        plain["description"] += f" Default: `{orjson.dumps(default).decode()}`."
    return plain


SchemasByType = dict[tuple[Hashable, JsonSchemaMode], Any]


def _schemas(
    operations: Sequence[Operation], mode: JsonSchemaMode
) -> tuple[SchemasByType, dict[str, Any]]:
    """Schemas by operation id (errors and forms by type), and their definitions."""
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
    response = _response_object(
        operation.response_description or operation.summary,
        response_schemas[operation.id, "serialization"],
        operation.response_example,
        operation.media_type,
    )
    description: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag.name],
        "responses": {"200": response, **_error_responses(operation, response_schemas)},
    }
    parameters = [*_path_parameters(operation), *operation.alternate_bodies.parameters]
    if parameters:
        description["parameters"] = parameters
    if operation.is_public:
        description["security"] = []
    if operation.request_type is not None:
        description["description"] = operation.request_type.__doc__
        json = {"application/json": {"schema": request_schemas[operation.id, "validation"]}}
        forms = {
            kind: _form_schema(form, request_schemas)
            for kind, form in operation.alternate_bodies.bodies.items()
        }
        description["requestBody"] = {"required": True, "content": json | forms}
    return description


def _form_schema(form: AlternateBody, request_schemas: SchemasByType) -> dict[str, Any]:
    schema = (
        form.schema if isinstance(form.schema, dict) else request_schemas[form.schema, "validation"]
    )
    return {"schema": schema} | ({"encoding": dict(form.encoding)} if form.encoding else {})


def _path_parameters(operation: Operation) -> list[dict[str, Any]]:
    parameters = []
    for _, name, _, _ in string.Formatter().parse(operation.path):
        if name is None:
            continue
        parameter = operation.parameters[name]
        schema: dict[str, Any] = {"type": "string"}
        if parameter.allowed_values:
            schema["enum"] = list(parameter.allowed_values)
        parameters.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": parameter.description,
                "schema": schema,
                "example": parameter.example,
            }
        )
    return parameters


def _error_responses(operation: Operation, response_schemas: SchemasByType) -> dict[str, Any]:
    schema = response_schemas[operation.error_format.body_type, "serialization"]
    responses = {}
    errors = sorted(map(_error_example, operation.errors), key=lambda error: error.status)
    for status, group in groupby(errors, key=lambda error: error.status):
        first, *others = group
        meaning = " Or: ".join(error.message for error in (first, *others))
        responses[str(status)] = _response_object(
            meaning, schema, operation.error_format.to_body(first)[0]
        )
    return responses


def _error_example(error: ErrorOrType) -> GeoBentoError:
    if isinstance(error, GeoBentoError):
        return error
    return error((error.__doc__ or "").split("\n")[0])


def _response_object(
    description: str, schema: Any, example: Any, media_type: str = "application/json"
) -> dict[str, Any]:
    content = {"schema": schema} | ({} if example is None else {"example": example})
    return {"description": description, "content": {media_type: content}}
