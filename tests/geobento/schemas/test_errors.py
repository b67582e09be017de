"""The tree of errors."""

from __future__ import annotations

import pickle
import re

import pytest

from geobento.schemas import errors
from geobento.schemas.errors import GeoBentoError, error_from_body

# Other packages define errors of their own, which they do not export.
ALL = [cls for cls in errors._all_errors(GeoBentoError)[1:] if cls.__module__ == errors.__name__]


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
    for copy in (error_from_body(error.body()), pickle.loads(pickle.dumps(error))):
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
    assert type(error_from_body(body, status)) is cls


def test_parents_are_those_of_the_drawing() -> None:
    """An error stands below the class that it is drawn under."""
    drawn: list[tuple[int, str]] = [(0, "GeoBentoError")]
    for indent, name in re.findall(r"^    ([│ ]*)[├└]── (\w+)", errors.__doc__ or "", re.MULTILINE):
        depth = len(indent) // 4 + 1
        parent = next(above for level, above in reversed(drawn) if level == depth - 1)
        assert getattr(errors, name).__bases__ == (getattr(errors, parent),)
        drawn.append((depth, name))
    assert len(drawn) == len(ALL) + 1


@pytest.mark.parametrize("cls", [errors.ModelStoreError, errors.SettingsError])
def test_errors_of_the_deployer_are_not_answered(cls: type[Exception]) -> None:
    """Errors that may name a path of the server are no errors for clients."""
    assert not issubclass(cls, GeoBentoError)
    assert f"\n    {cls.__name__}  " in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, errors.InvalidRequest),
        (401, errors.Unauthorized),
        (404, errors.NotFound),
        (405, errors.MethodNotAllowed),
        (413, errors.PayloadTooLarge),
        (415, errors.UnsupportedMediaType),
        (422, errors.NoImageryError),
        (429, errors.RateLimited),
        (500, errors.InternalError),
        (502, errors.SourceError),
        (503, errors.Overloaded),
        (504, errors.DeadlineExceeded),
        (302, errors.InternalError),
    ],
)
def test_the_class_of_a_status(status: int, cls: type[GeoBentoError]) -> None:
    """A status that several classes share stands for the most general of them."""
    assert errors.error_class_for_status(status) is cls


def test_a_pickle_keeps_the_time_to_wait() -> None:
    """Between processes nothing of an error is lost."""
    error = errors.Overloaded("busy", retry_after=1.5)
    copy = pickle.loads(pickle.dumps(error))
    assert copy.retry_after == 1.5
    assert str(copy) == "busy"


def test_a_body_whose_type_is_no_text() -> None:
    """Whatever another server answers becomes one of ours."""
    assert (
        type(error_from_body({"error": {"type": ["x"], "message": "m"}}, 502)) is errors.SourceError
    )


@pytest.mark.parametrize(
    ("error", "caught"),
    [
        (errors.SpecError, errors.SpecError),
        (errors.ModelError, errors.ModelError),
        (errors.ModelNotFound, errors.ModelError),
        (errors.SourceError, errors.SourceError),
        (errors.NoImageryError, errors.SourceError),
        (errors.QuotaError, errors.SourceError),
    ],
)
def test_every_error_has_one_of_three_parents(
    error: type[GeoBentoError], caught: type[GeoBentoError]
) -> None:
    """Whose fault it is: of what was asked, of the model, or of the source; never two of them."""
    three = (errors.SpecError, errors.ModelError, errors.SourceError)
    assert [cls for cls in three if issubclass(error, cls)] == [caught]
