"""Admission limits."""

from __future__ import annotations

import pytest

from geobento.limiters import AdmissionLimiter
from geobento.schemas.errors import Overloaded


def test_amounts_beyond_the_limit_are_rejected() -> None:
    """Exactly the limit is accepted; a rejected amount is not held; the end of a block releases."""
    heard: list[float] = []
    budget = AdmissionLimiter(10, "things", heard.append)
    with budget.hold(6), budget.hold(4):
        with pytest.raises(Overloaded, match="things") as caught, budget.hold(1):
            pass
        assert caught.value.retry_after is not None
    with budget.hold(10):
        pass
    assert heard == [6, 10, 6, 0, 10, 0]


def test_an_amount_above_the_limit_runs_alone() -> None:
    """It could never be done otherwise."""
    budget = AdmissionLimiter(10, "things")
    with budget.hold(11), pytest.raises(Overloaded):
        budget.acquire(1)
    budget.acquire(1)
    with pytest.raises(Overloaded):
        budget.acquire(11)


def test_a_failure_releases() -> None:
    """Whatever ends the block."""
    budget = AdmissionLimiter(1, "things")
    with pytest.raises(ValueError, match="defect"), budget.hold(1):
        raise ValueError("defect")
    budget.acquire(1)
