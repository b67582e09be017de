"""Tables of the HTTP API from its OpenAPI document. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from docs.markdown import table

Schema = Mapping[str, Any]

FOREIGN_PATHS = ("/v1/", "/api/")
"""Paths of other servers' APIs, which have pages of their own."""
RECORDS_PAGE = "http-records.md"
ANCHOR = "#/components/schemas/"


def parts(document: Schema) -> dict[str, str]:
    """The parameter tables and status tables of the endpoints, by the name of their part."""
    result: dict[str, str] = {}
    for operation in _operations(document):
        if operation.get("security") == []:
            continue  # probes
        name = operation["operationId"].replace("_", "-")
        json_body, form = (
            _body(operation, media_type, document)
            for media_type in ("application/json", "multipart/form-data")
        )
        if json_body is not None:
            result[f"{name}-parameters"] = fields(json_body)
        if form is not None and json_body is not None and _names(form) != _names(json_body):
            result[f"{name}-form"] = fields(form)
        result[f"{name}-statuses"] = statuses(operation)
    return result


def operations(document: Schema) -> str:
    """One row per operation of our own API but the probes."""
    rows = [
        (f"`{operation['operationId']}`", f"`{method.upper()} {path}`", operation["summary"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if not path.startswith(FOREIGN_PATHS) and operation.get("security") != []
    ]
    return table(("operation", "route", "what it does"), rows)


def fields(schema: Schema) -> str:
    """One row per field of a record."""
    required = schema.get("required", ())
    rows = [
        (f"`{name}`", type_name(field), _default(field, name in required), _meaning(field))
        for name, field in schema.get("properties", {}).items()
    ]
    return table(("field", "type", "default", "meaning"), rows)


def statuses(operation: Schema) -> str:
    """One row per status that is not 200."""
    rows = [
        (status, response["description"])
        for status, response in sorted(operation["responses"].items())
        if status != "200"
    ]
    return table(("status", "when"), rows)


def records(document: Schema) -> str:
    """A section for every record that requests and answers of our own endpoints hold."""
    schemas = document["components"]["schemas"]
    pending = [name for operation in _operations(document) for name in _references(operation)]
    reachable: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in reachable:
            reachable.add(name)
            pending += _references(schemas[name])
    return "\n\n".join(_record(name, schemas[name]) for name in sorted(reachable))


def type_name(schema: Schema) -> str:
    """The type of a field in words, records with links."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(ANCHOR)
        return f"[`{name}`]({RECORDS_PAGE}#{name.lower()})"
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(type_name(option) for option in schema[word]))
    if schema.get("type") == "array":
        return _list_name(schema)
    if schema.get("format") == "binary":
        return "file"
    return str(schema.get("type", "any"))


def _list_name(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"list of {len(schema['prefixItems'])}: {type_name(schema['prefixItems'][0])}"
    return f"list of {type_name(schema.get('items', {}))}"


def _default(field: Schema, is_required: bool) -> str:
    if is_required:
        return "required"
    return f"`{json.dumps(field['default'])}`" if "default" in field else ""


def _meaning(field: Schema) -> str:
    bounds = [
        f"{word} {field[name]}"
        for name, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "more than"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "less than"),
        )
        if name in field
    ]
    text = field.get("description", "")
    return f"{text} Accepted: {', '.join(bounds)}." if bounds else text


def _record(name: str, schema: Schema) -> str:
    parts = [f"## {name}", " ".join(schema.get("description", "").split())]
    if "enum" in schema:
        parts.append(type_name(schema))
    elif schema.get("properties"):
        # Links to records of the same page.
        parts.append(fields(schema).replace(f"({RECORDS_PAGE}#", "(#"))
    return "\n\n".join(part for part in parts if part)


def _operations(document: Schema) -> Iterator[Mapping[str, Any]]:
    """Those of our own API."""
    for path, methods in document["paths"].items():
        if not path.startswith(FOREIGN_PATHS):
            yield from methods.values()


def _body(operation: Schema, media_type: str, document: Schema) -> Schema | None:
    content = operation.get("requestBody", {}).get("content", {}).get(media_type)
    if content is None:
        return None
    schema: Schema = content["schema"]
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].removeprefix(ANCHOR)]
    return schema


def _names(schema: Schema) -> set[str]:
    return set(schema.get("properties", {}))


def _references(value: Any) -> list[str]:
    """Names of the records that a part of the document refers to."""
    if isinstance(value, Mapping):
        own = [value["$ref"].removeprefix(ANCHOR)] if isinstance(value.get("$ref"), str) else []
        return own + [name for part in value.values() for name in _references(part)]
    if isinstance(value, list):
        return [name for part in value for name in _references(part)]
    return []
