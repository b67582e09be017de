"""Times and ground size of a sample."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from geobento.schemas.errors import ModelError
from geobento.schemas.sample import Sample
from models.preprocessing.metadata import frame_times, ground_size_m
from tests.models import small

JUNE, JULY = datetime(2021, 6, 1, tzinfo=UTC), datetime(2021, 7, 1, tzinfo=UTC)


def sample(*shape: int, **fields: object) -> Sample:
    """A sample of one band without values."""
    return Sample(np.zeros(shape, np.float32), ("B2",), "s2", **fields)  # type: ignore[arg-type]


def test_every_frame_has_its_time() -> None:
    """Those of a series as they are; one image has the middle; without times there are none."""
    assert frame_times(sample(2, 1, 4, 4, times=(JUNE, JULY))) == (JUNE, JULY)
    assert frame_times(sample(1, 4, 4, times=(JUNE, JULY))) == (datetime(2021, 6, 16, tzinfo=UTC),)
    assert frame_times(sample(2, 1, 4, 4)) == ()


def test_other_numbers_of_times_are_refused() -> None:
    """The message names both numbers."""
    with pytest.raises(ModelError, match="s2 has 3 frames but 1 times") as caught:
        frame_times(sample(3, 1, 4, 4, times=(JUNE,)))
    assert caught.value.field == "temporal"


def test_ground_size() -> None:
    """Height first; the grid counts more than the pixel size of the sensor."""
    assert ground_size_m(sample(1, 4, 6), 10) == (40, 60)
    assert ground_size_m(sample(1, 4, 6, grid=small.utm(4, 6, 20.0)), 10) == (80, 120)
