"""Options of a model against its card."""

from __future__ import annotations

from typing import Any

import pytest

from geobento.schemas.errors import ModelError
from models.preprocessing.options import read_integer, read_option
from models.registry import get_model_class

CARD = get_model_class("galileo").card


def test_an_option_that_is_not_set_has_its_default() -> None:
    """The card states it."""
    assert read_option(CARD, {}, "location") is False
    assert read_option(CARD, {"location": True}, "location") is True


def test_whole_floats_are_integers() -> None:
    """As in JSON schema; the model gets an int."""
    value = read_integer(CARD, {"patch_size": 2.0}, "patch_size")
    assert value == 2
    assert type(value) is int


@pytest.mark.parametrize(
    ("value", "keywords", "message"),
    [
        (9, {}, "9 for 'patch_size'; accepted: integer from 1 to 8"),
        (True, {}, "accepted: integer"),
        (4, {"maximum": 3}, "accepted: integer from 1 to 3"),
    ],
)
def test_other_values_are_refused(value: Any, keywords: dict[str, Any], message: str) -> None:
    """By the schema of the card, and by what the weights add to it."""
    with pytest.raises(ModelError, match=message) as caught:
        read_integer(CARD, {"patch_size": value}, "patch_size", **keywords)
    assert caught.value.field == "model_config.patch_size"
