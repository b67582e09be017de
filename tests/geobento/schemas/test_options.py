"""Model options against the schema of a card."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geobento.schemas.errors import ModelError
from geobento.schemas.options import SUPPORTED_KEYWORDS, check_options
from models.mosaiks.model import Mosaiks
from models.registry import list_model_classes

CARD = Mosaiks.card

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "size": {"enum": ["base", "large"], "default": "base"},
        "patch": {"type": "integer", "minimum": 1, "maximum": 8},
        "ratio": {"type": "number", "minimum": 0},
        "norm": {"type": "boolean"},
        "name": {"type": ["string", "null"]},
        "level": {"enum": [1, 2]},
        "most": {"maximum": 3},
        "patch_m": {"type": "integer", "minimum": 10, "maximum": 50, "multipleOf": 10},
        "bounds": {"type": "array", "items": {"type": "number", "minimum": 0}},
    },
}
SOME = CARD.model_copy(update={"config_schema": SCHEMA})


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"side": 3}, "side", "has no option 'side'; accepted: bounds, level, most, name, norm"),
        ({"size": "huge"}, "size", "'huge' for 'size'; accepted: base, large"),
        ({"size": ["base"]}, "size", "accepted: base, large"),
        ({"variant": "huge"}, "variant", "'huge' for 'variant'; accepted: gaussian, rolf2021"),
        ({"patch": 9}, "patch", "9 for 'patch'; accepted: integer from 1 to 8"),
        ({"patch": 2.5}, "patch", "accepted: integer from 1 to 8"),
        ({"patch": True}, "patch", "accepted: integer from 1 to 8"),
        ({"patch": "2"}, "patch", "accepted: integer from 1 to 8"),
        ({"ratio": -0.1}, "ratio", "accepted: number of at least 0"),
        ({"ratio": float("inf")}, "ratio", "accepted: number of at least 0"),
        ({"norm": 1}, "norm", "accepted: boolean"),
        ({"name": 5}, "name", "accepted: string or null"),
        ({"level": True}, "level", "accepted: 1, 2"),
        ({"bounds": 2}, "bounds", "accepted: array, each item number of at least 0"),
        ({"bounds": [1, -1]}, "bounds", "accepted: array, each item number of at least 0"),
        ({"most": 4}, "most", "accepted: a number of at most 3"),
        ({"patch_m": 25}, "patch_m", "accepted: integer from 10 to 50, a multiple of 10"),
        ({"patch_m": 60}, "patch_m", "accepted: integer from 10 to 50, a multiple of 10"),
        ({"norm": True, "patch": 0}, "patch", "accepted"),
        ({"name": {"a": "x" * 500}}, "name", r"\.\.\. for 'name'"),
    ],
)
def test_rejected_options(options: dict[str, Any], field: str, message: str) -> None:
    """Unknown keys and values that do not fit, with what is accepted."""
    with pytest.raises(ModelError, match=message) as caught:
        check_options(SOME, options, "model_config")
    assert caught.value.field == f"model_config.{field}"
    assert len(caught.value.message) < 200


def test_models_without_options() -> None:
    """Then only the variant can be named, and the message says so."""
    with pytest.raises(ModelError, match=r"accepted: variant$"):
        check_options(CARD, {"a": 1}, "config")


@given(
    st.dictionaries(
        st.sampled_from(sorted(SCHEMA["properties"])),
        st.sampled_from(
            [
                None,
                True,
                False,
                0,
                1,
                2,
                2.0,
                2.5,
                9,
                20,
                -1,
                "base",
                "x",
                [],
                [1, 0.5],
                [-1],
                [True],
                {},
            ]
        ),
    )
)
def test_it_is_json_schema(options: dict[str, Any]) -> None:
    """The words of the schema mean what JSON schema says they mean."""
    try:
        check_options(SOME, options, "config")
    except ModelError:
        ours = False
    else:
        ours = True
    assert ours == jsonschema.Draft202012Validator(SCHEMA).is_valid(options)


@pytest.mark.parametrize("cls", list_model_classes(), ids=lambda cls: cls.card.id)
def test_cards_say_nothing_that_is_not_checked(cls: Any) -> None:
    """A card's schema uses only what is checked here; a default fits its own schema."""
    schema = cls.card.config_schema
    assert set(schema) <= {"type", "properties"}
    for option in schema["properties"].values():
        assert set(option) <= SUPPORTED_KEYWORDS
    defaults = {
        name: option["default"]
        for name, option in schema["properties"].items()
        if "default" in option
    }
    check_options(cls.card, defaults, "config")
