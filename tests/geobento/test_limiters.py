"""Bounds on what is held."""

from __future__ import annotations

import pytest

from geobento.limiters import AdmissionLimiter
from geobento.schemas.errors import Overloaded


def test_what_is_beyond_the_bound_is_refused_and_holds_nothing() -> None:
    """The bound itself is let in; what was refused leaves no trace; what ends gives back."""
    heard: list[float] = []
    budget = AdmissionLimiter(10, "things", heard.append)
    with budget.hold(6), budget.hold(4):
        with pytest.raises(Overloaded, match="things") as caught, budget.hold(1):
            pass
        assert caught.value.retry_after is not None
    with budget.hold(10):
        pass
    assert heard == [6, 10, 6, 0, 10, 0]


def test_one_that_is_larger_than_the_whole_goes_alone() -> None:
    """It could never be done otherwise."""
    budget = AdmissionLimiter(10, "things")
    with budget.hold(11), pytest.raises(Overloaded):
        budget.acquire(1)
    budget.acquire(1)
    with pytest.raises(Overloaded):
        budget.acquire(11)


def test_a_failure_gives_back() -> None:
    """Whatever ends the block."""
    budget = AdmissionLimiter(1, "things")
    with pytest.raises(ValueError, match="defect"), budget.hold(1):
        raise ValueError("defect")
    budget.acquire(1)
