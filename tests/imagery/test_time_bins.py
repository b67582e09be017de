"""Windows of time in equal parts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geobento.schemas.sample import PixelGrid, Provenance, Scene
from geobento.schemas.specs import SensorSpec
from imagery import time_bins
from imagery.query import ImageQuery
from imagery.time_bins import Frame

START = datetime(2023, 1, 1, tzinfo=UTC)
QUERY = ImageQuery(
    SensorSpec("COPERNICUS/S2_SR_HARMONIZED", ("B4",)),
    PixelGrid("EPSG:32736", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), 2, 3),
    START,
    START + timedelta(days=360),
    "s2",
    frames=12,
)


@given(st.integers(1, 24), st.integers(1, 10**9))
def test_parts_cover_the_window(count: int, seconds: int) -> None:
    """No gap, no overlap, equal to the microsecond, from the start to the end."""
    query = replace(QUERY, end=START + timedelta(seconds=seconds), frames=count)
    borders = time_bins.bin_edges(query)
    assert (borders[0], borders[-1]) == (query.start, query.end)
    lengths = [after - before for before, after in pairwise(borders)]
    assert len(lengths) == count
    assert max(lengths) - min(lengths) <= timedelta(microseconds=1)


def test_parts_are_half_open() -> None:
    """A scene at a border belongs to the later part; passes stay whole where their first is."""
    border = START + timedelta(days=30)
    before, at, after = (border + timedelta(seconds=s) for s in (-1, 0, 1))
    assert time_bins.split_passes([[before], [at]], lambda time: time, QUERY) == {
        0: [[before]],
        1: [[at]],
    }
    assert time_bins.split_passes([[before, after]], lambda time: time, QUERY) == {
        0: [[before, after]]
    }


def test_parts_without_scenes_are_left_out() -> None:
    """Only parts that have any are named, in the order of time."""
    late, early = START + timedelta(days=355), START + timedelta(days=61)
    assert list(time_bins.split_passes([[late], [early]], lambda time: time, QUERY)) == [2, 11]
    assert time_bins.split_passes([], lambda time: time, QUERY) == {}
    one = replace(QUERY, frames=1)
    assert time_bins.split_passes([[early], [late]], lambda time: time, one) == {
        0: [[early], [late]]
    }
    assert time_bins.split_passes([], lambda time: time, one) == {}


def _frame(number: int, *days: int) -> Frame:
    scenes = tuple(Scene(str(day), START + timedelta(days=day)) for day in days)
    pixels = np.full((1, 2, 3), number, np.float32)
    return Frame(number, pixels, np.ones((2, 3), bool), scenes)


@pytest.mark.parametrize("count", [1, 12])
def test_a_sample_of_frames(count: int) -> None:
    """A series has an axis of time, and one time a frame; an image has the times of its scenes."""
    made = [_frame(0, 2, 6)] if count == 1 else [_frame(0, 2, 6), _frame(4, 130)]
    sample = time_bins.assemble_sample(
        made, replace(QUERY, frames=count), Provenance("stac", "test")
    )
    days = [(time - START).days for time in sample.times]
    assert sample.valid is not None
    if count == 1:
        assert (sample.pixels.shape, sample.valid.shape) == ((1, 2, 3), (2, 3))
        assert (days, sample.parts) == ([2, 6], ())
    else:
        assert (sample.pixels.shape, sample.valid.shape) == ((2, 1, 2, 3), (2, 2, 3))
        assert sample.pixels[:, 0, 0, 0].tolist() == [0, 4]
        assert (days, sample.parts) == ([4, 130], (0, 4))
