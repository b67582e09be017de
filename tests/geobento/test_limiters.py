"""Bounds on what is held."""

from __future__ import annotations

import pytest

from geobento.limiters import Budget
from geobento.schemas.errors import Overloaded


def test_what_is_beyond_the_bound_is_refused_and_holds_nothing() -> None:
    """The bound itself is let in; what was refused leaves no trace; what ends gives back."""
    heard: list[float] = []
    budget = Budget(10, "things", heard.append)
    with budget.held(6), budget.held(4):
        with pytest.raises(Overloaded, match="things") as caught, budget.held(1):
            pass
        assert caught.value.retry_after is not None
    with budget.held(10):
        pass
    assert heard == [6, 10, 6, 0, 10, 0]


def test_one_that_is_larger_than_the_whole_goes_alone() -> None:
    """It could never be done otherwise."""
    budget = Budget(10, "things")
    with budget.held(11), pytest.raises(Overloaded):
        budget.take(1)
    budget.take(1)
    with pytest.raises(Overloaded):
        budget.take(11)


def test_a_failure_gives_back() -> None:
    """Whatever ends the block."""
    budget = Budget(1, "things")
    with pytest.raises(ValueError, match="defect"), budget.held(1):
        raise ValueError("defect")
    budget.take(1)
