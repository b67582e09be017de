"""Validation by pydantic, with errors that name the field and what is accepted."""

from __future__ import annotations

import inspect
from functools import wraps
from typing import Any, Literal, TypeVar, dataclass_transform, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from geobento.schemas.errors import InvalidRequest, SpecError
from geobento.schemas.nulls import without_absent
from geobento.suggestions import did_you_mean

Record = TypeVar("Record", bound=BaseModel)
Spec = TypeVar("Spec")

_SPEC_FIELDS = frozenset(
    {"spatial", "spatials", "temporal", "sensor", "fetch", "output", "input_prep"}
)
"""Parameters of requests whose values are specs."""

_UNION_TAGS = frozenset(
    {
        "PointBuffer", "BBox", "Polygon", "MultiPolygon", "Feature", "range", "year", "pooled",
        "grid", "InputPrepSpec", "str", "bytes",
    }
)  # fmt: skip
"""Parts of pydantic's locations that are members of unions and not fields."""

GEOJSON_CRS_NAMES = frozenset(
    {
        "CRS84", "OGC:CRS84", "URN:OGC:DEF:CRS:OGC:1.3:CRS84", "URN:OGC:DEF:CRS:OGC::CRS84",
        "EPSG:4326", "URN:OGC:DEF:CRS:EPSG::4326",
        "HTTP://WWW.OPENGIS.NET/DEF/CRS/OGC/1.3/CRS84",
        "HTTPS://WWW.OPENGIS.NET/DEF/CRS/OGC/1.3/CRS84",
    }
)  # fmt: skip
"""Names of longitude and latitude on WGS 84, upper case. Of old GeoJSON files with EPSG:4326 the
positions are longitude, latitude, too."""

UNKNOWN_NAME = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
"""Types of pydantic's errors for a name that is no field."""

EXAMPLES = {
    "spatial": '{"type": "PointBuffer", "lon": 34.07, "lat": -3.4, "buffer_m": 500}',
    "spatials": '[{"type": "PointBuffer", "lon": 34.07, "lat": -3.4, "buffer_m": 500}]',
    "temporal": '{"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}',
    "output": '{"mode": "grid"}',
    "sensor": '{"collection": "COPERNICUS/S2_SR_HARMONIZED", "bands": ["B4", "B8"]}',
    "fetch": '{"scale_m": 20}',
    "input_prep": '{"mode": "tile"}',
}
"""Examples of parameters that are objects, for messages."""

_YEAR_LOCATION = ("temporal", "year", "year")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def validated_spec(cls: type[Spec]) -> type[Spec]:
    """Decorator: a frozen, validated dataclass with JSON serialization.

    Its constructor raises SpecError if a value is not valid. In JSON, null means absent for every
    optional field that takes no null.
    """
    return _validated_dataclass(cls, "forbid")


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def geojson_object(cls: type[Spec]) -> type[Spec]:
    """Decorator: a validated spec that is a GeoJSON object; foreign members are ignored.

    The member `crs` of GeoJSON's first version is not: another CRS than longitude and latitude on
    WGS 84 is an error.
    """
    return _validated_dataclass(cls, "ignore")


def _validated_dataclass(cls: type[Spec], extra: Literal["forbid", "ignore"]) -> type[Spec]:
    def prepare(cls: Any, data: Any) -> Any:
        if extra == "ignore" and isinstance(data, dict):
            check_geojson_crs(data.get("crs"))
        return without_absent(data, cls.__pydantic_fields__)

    method: Any = classmethod(prepare)
    cls._prepare = model_validator(mode="before")(method)  # type: ignore[attr-defined]
    config = ConfigDict(extra=extra, allow_inf_nan=False, use_attribute_docstrings=True)
    spec: Any = dataclass(frozen=True, config=config)(cls)
    original_init = spec.__init__
    signature = inspect.signature(spec)

    @wraps(original_init)
    def checked(self: Spec, *args: Any, **kwargs: Any) -> None:
        # By name, so that errors have the name of the field.
        arguments = signature.bind(*args, **kwargs).arguments
        try:
            original_init(self, **arguments)
        except ValidationError as error:
            raise to_invalid_request(error, SpecError) from None

    spec.__init__ = checked
    checked_type: type[Spec] = spec
    return checked_type


def check_geojson_crs(member: Any) -> None:
    """Check the member `crs` of a GeoJSON object.

    Raises:
        ValueError: It names another CRS than longitude and latitude on WGS 84.
    """
    if member is None:
        return
    properties = member.get("properties") if isinstance(member, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else member
    if str(name).upper() not in GEOJSON_CRS_NAMES:
        raise field_error(
            "crs",
            f"positions in GeoJSON are longitude and latitude (CRS84), not {name!r}; reproject "
            "them, or send a BBox with 'crs'",
        )


def field_error(field: str, message: str) -> ValueError:
    """The error for a field, raised in ``__post_init__`` of a spec."""
    return PydanticCustomError("problem_in", "{message}", {"message": message, "field": field})


def to_invalid_request(
    error: ValidationError,
    error_class: type[InvalidRequest] | None = None,
    cls: type[BaseModel] | None = None,
) -> InvalidRequest:
    """An error with the first problem as message and field, and all of them as detail.

    Args:
        error: Pydantic's error for a request or a spec.
        error_class: Class of the error; None: SpecError if a spec of a request is at fault.
        cls: Type of the request, for suggestions of names.
    """
    problems = [
        {"field": _field_path(problem), "message": _problem_message(problem, cls)}
        for problem in sorted(
            error.errors(include_url=False, include_context=True),
            key=lambda problem: problem["type"] not in UNKNOWN_NAME,  # the cause of a missing one
        )
    ]
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    where = f"{first['field']}: " if first["field"] else ""
    if error_class is None:
        root = str(first["field"]).partition(".")[0]
        error_class = SpecError if root in _SPEC_FIELDS else InvalidRequest
    return error_class(
        f"{where}{first['message']}{more}",
        field=first["field"],
        detail=problems if len(problems) > 1 else None,
    )


def validate(cls: type[Record], data: Any) -> Record:
    """A pydantic model from Python values.

    Raises:
        InvalidRequest: The values are not valid.
    """
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        raise to_invalid_request(error, cls=cls) from None


def validate_json(cls: type[Record], body: bytes) -> Record:
    """A pydantic model from JSON text.

    Raises:
        InvalidRequest: The text is not JSON, or its values are not valid.
    """
    try:
        return cls.model_validate_json(body)
    except ValidationError as error:
        raise to_invalid_request(error, cls=cls) from None


def _field_path(problem: Any) -> str | None:
    loc = problem["loc"]
    if problem["type"] == "problem_in":
        loc = (*loc, problem["ctx"]["field"])
    if loc == _YEAR_LOCATION:
        return "temporal.year"
    # The first part always is a field; below it, members of unions are left out.
    parts = [
        str(part)
        for position, part in enumerate(loc)
        if position == 0
        or isinstance(part, int)
        or (part not in _UNION_TAGS and part.isidentifier())
    ]
    return ".".join(parts) or None


def _problem_message(problem: Any, cls: type[BaseModel] | None) -> str:
    message = str(problem["msg"]).removeprefix("Value error, ")
    kind, location = problem["type"], problem["loc"]
    if kind == "json_invalid":
        return message.replace("Invalid JSON", "the body is not valid JSON")
    if kind in UNKNOWN_NAME:
        known = () if cls is None else _names_beside(cls, location)
        return f"there is no such parameter{did_you_mean([str(location[-1])], known)}"
    if kind in ("union_tag_not_found", "model_attributes_type") and location[0] in EXAMPLES:
        name = "spatial" if location[0] == "spatials" and len(location) > 1 else location[0]
        return f"expected an object, for instance {EXAMPLES[name]}"
    if kind == "missing":
        return "this parameter is required"
    if kind == "union_tag_invalid":
        expected = problem.get("ctx", {}).get("expected_tags", "")
        tag = problem.get("ctx", {}).get("tag")
        return f"{tag!r} is not known; accepted: {expected}"
    return message[:1].lower() + message[1:] if message[1:2].islower() else message


def _names_beside(cls: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Names of the fields beside a location in a request: of the request, or of its spec."""
    if len(location) == 1:
        return [info.alias or name for name, info in cls.model_fields.items()]
    info = cls.model_fields.get(str(location[0]))
    return [] if info is None else sorted(_spec_fields(info.annotation))


def _spec_fields(annotation: Any) -> set[str]:
    """Names of the fields of all specs in a type."""
    own = set(getattr(annotation, "__pydantic_fields__", ()))
    return own.union(*map(_spec_fields, get_args(annotation)))
