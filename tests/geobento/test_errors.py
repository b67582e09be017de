"""The tree of errors."""

from __future__ import annotations

import pickle
import re

import pytest

from geobento import errors
from geobento.errors import GeoBentoError, from_body

ALL = errors._all(GeoBentoError)[1:]


def test_the_drawing_is_the_tree() -> None:
    """The module's docstring draws every class at its depth, with its status."""
    drawn = re.findall(r"^    ([│ ]*)[├└]── (\w+) +(\d{3})  \S", errors.__doc__ or "", re.MULTILINE)
    depth = {cls.__name__: len(cls.__mro__) - len(GeoBentoError.__mro__) - 1 for cls in ALL}
    assert {name: (len(indent) // 4, int(status)) for indent, name, status in drawn} == {
        cls.__name__: (depth[cls.__name__], cls.status) for cls in ALL
    }


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_an_error_survives_the_wire(cls: type[GeoBentoError]) -> None:
    """Type, message, field and detail come back from the body, and from a pickle."""
    error = cls("what was wrong", field="a.0", detail={"limit": 3}, retry_after=2)
    assert set(error.body()["error"]) == {"type", "message", "field", "detail"}
    for copy in (from_body(error.body()), pickle.loads(pickle.dumps(error))):
        assert type(copy) is cls
        assert (copy.message, copy.field, copy.detail) == ("what was wrong", "a.0", {"limit": 3})


def test_types_are_distinct() -> None:
    """A program can tell all errors apart by their word."""
    assert len({cls.type for cls in ALL}) == len(ALL)


@pytest.mark.parametrize(
    ("body", "status", "cls"),
    [
        ({"error": {"type": "of_the_future", "message": "x"}}, 404, errors.NotFound),
        ({"error": {"type": "of_the_future", "message": "x"}}, 418, errors.InvalidRequest),
        ({"error": "text"}, 503, errors.Overloaded),
        ("no object", 500, errors.InternalError),
        ({"error": {}}, 599, errors.InternalError),
    ],
)
def test_bodies_of_others(body: object, status: int, cls: type[GeoBentoError]) -> None:
    """What another version or another server answers still becomes one of ours."""
    assert type(from_body(body, status)) is cls
