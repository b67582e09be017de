"""Checks model options of requests against the JSON schema of a card."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import ModelError

SUPPORTED_KEYWORDS = frozenset(
    {"type", "enum", "minimum", "maximum", "multipleOf", "items"}
    | {"default", "description", "title"}
)
"""JSON schema keywords that cards use for options."""


def _is_real_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_TYPE_CHECKS: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "number": _is_real_number,
    "integer": lambda value: _is_real_number(value) and float(value).is_integer(),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}


def check_options(card: ModelCard, options: Mapping[str, Any], field: str) -> None:
    """Check names and values of model options.

    Args:
        card: The model's card; its `options` use only `SUPPORTED_KEYWORDS`.
        options: Options of the request.
        field: Parameter of the request that holds the options.

    Raises:
        ModelError: A key or value is not accepted; `field` names the option.
    """
    known = card.options
    if unknown := sorted(set(options) - set(known)):
        raise ModelError(
            f"{card.id} has no option {unknown[0]!r}; "
            f"accepted: {', '.join(sorted(known)) or 'none'}",
            field=f"{field}.{unknown[0]}",
        )
    for name, value in options.items():
        check_option(card.id, name, value, known[name], field)


def check_option(
    model_id: str, name: str, value: Any, schema: Mapping[str, Any], field: str
) -> None:
    """Check the value of one option.

    Args:
        model_id: The model's id, for the message.
        name: Name of the option.
        value: Its value.
        schema: Its JSON schema, with only `SUPPORTED_KEYWORDS`.
        field: Parameter of the request that holds the options.

    Raises:
        ModelError: The value is not accepted; `field` names the option.
    """
    if not _matches(schema, value):
        raise ModelError(
            f"{model_id} does not take {_format_value(value)} for {name!r}; "
            f"accepted: {_describe_accepted(schema)}",
            field=f"{field}.{name}",
        )


def _matches(schema: Mapping[str, Any], value: Any) -> bool:
    if "type" in schema and not any(_TYPE_CHECKS[kind](value) for kind in _type_names(schema)):
        return False
    # In Python, True == 1.
    if "enum" in schema and not any(
        value == choice and isinstance(value, bool) == isinstance(choice, bool)
        for choice in schema["enum"]
    ):
        return False
    if isinstance(value, list):
        return all(_matches(schema.get("items", {}), item) for item in value)
    if not _is_real_number(value):
        return True
    if "multipleOf" in schema and value % schema["multipleOf"]:
        return False
    return bool(schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf))


def _describe_accepted(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "items" in schema:
        return f"array, each item {_describe_accepted(schema['items'])}"
    kinds = " or ".join(_type_names(schema)) or "a number"
    step = f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else ""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{kinds} from {low} to {high}{step}"
    if low is not None:
        return f"{kinds} of at least {low}{step}"
    return f"{kinds}{step}" if high is None else f"{kinds} of at most {high}{step}"


def _type_names(schema: Mapping[str, Any]) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _format_value(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
