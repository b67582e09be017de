"""JSON null for an absent value. Pure.

Many clients, those of generators among them, write null for every parameter that is not set.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo


def without_absent(data: Any, fields: Mapping[str, FieldInfo]) -> Any:
    """Values without those that are null although their field is optional and takes no null.

    Args:
        data: Values by name. Anything else is returned unchanged.
        fields: Fields of the type that the values are for.
    """
    if not isinstance(data, dict) or None not in data.values():
        return data
    absent = {
        info.alias or name
        for name, info in fields.items()
        if not info.is_required() and not accepts_null(info.annotation)
    }
    return {name: value for name, value in data.items() if value is not None or name not in absent}


def accepts_null(annotation: Any) -> bool:
    """Whether None is a value of a type."""
    if annotation is Any or annotation is None or annotation is NoneType:
        return True
    origin = get_origin(annotation)
    if origin is Annotated:
        return accepts_null(get_args(annotation)[0])
    return origin in (Union, UnionType) and any(map(accepts_null, get_args(annotation)))
