"""Grids that are split into several requests to Earth Engine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geobento.schemas.errors import (
    NoImageryError,
    PayloadTooLarge,
)
from imagery.collections import registry
from imagery.earth_engine import tiling
from imagery.earth_engine.source import EarthEngineSource
from imagery.earth_engine.tiling import fits_one_request, split_grid
from tests.imagery.catalogs import GRID
from tests.imagery.ee_server import Standin
from tests.imagery.queries import query, scene
from tests.imagery.world import S2, shifted

SENT_BYTES = 3
"""Bytes of an integer pixel: 16 bits and the byte of its mask."""


def test_split_requests_give_the_same_pixels(standin: Standin, source: EarthEngineSource) -> None:
    """Grids too large for Earth Engine's memory come in parts, to the same result."""
    standin.scenes = [scene(day, cloudy=True, holes=True) for day in (1, 2)]
    odd = shifted(GRID, 0, 0, 101, 67)
    whole = source.fetch(query(odd))
    standin.max_pixels = 1600
    parts = source.fetch(query(odd))
    np.testing.assert_array_equal(parts.pixels, whole.pixels)
    np.testing.assert_array_equal(parts.valid, whole.valid)
    assert len(standin.calls("compute")) == 2


def test_grids_over_the_byte_limit_are_split_beforehand(
    standin: Standin, source: EarthEngineSource
) -> None:
    """No request is sent that Earth Engine would refuse for its size."""
    standin.scenes = [scene(10)]
    large = shifted(GRID, 0, 0, 1200, 1200)
    bands = tuple(registry.get(S2).bands)
    sample = source.fetch(query(large, bands=bands))
    assert sample.pixels.shape == (12, 1200, 1200)
    np.testing.assert_array_equal(sample.pixels[3, :24, :24], scene(10).band("B4"))
    sizes = [request.body["grid"]["dimensions"] for request in standin.calls("computePixels")]
    assert [(size["height"], size["width"]) for size in sizes] == [(600, 1200)] * 2


def test_scenes_too_many_even_for_a_small_grid(standin: Standin, source: EarthEngineSource) -> None:
    """Splitting ends, with the numbers."""
    standin.scenes = [scene(1), scene(2)]
    standin.max_pixels = 10
    with pytest.raises(PayloadTooLarge, match="2 bands of 2 passes") as caught:
        source.fetch(query())
    assert caught.value.detail == {"bands": 2, "passes": 2, "height": 24, "width": 24}


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 320))
def test_halves_cover_the_grid(height: int, width: int, pixel_bytes: int) -> None:
    """Both parts lie side by side on the same lattice, and cutting on ends within the limit."""
    if height == width == 1:
        return
    whole = shifted(GRID, 5, 9, height, width)
    first, second, axis = split_grid(whole)
    assert first.bounds[1 if axis == 0 else 2] == second.bounds[3 if axis == 0 else 0]
    assert first.shape[axis] + second.shape[axis] == whole.shape[axis]
    assert first.shape[1 - axis] == second.shape[1 - axis] == whole.shape[1 - axis]
    assert (first.bounds[0], first.bounds[3]) == (whole.bounds[0], whole.bounds[3])
    assert (second.bounds[1], second.bounds[2]) == (whole.bounds[1], whole.bounds[2])
    while not fits_one_request(whole, pixel_bytes):
        whole = split_grid(whole)[1]


def test_an_estimate_requests_scenes_alone(
    standin: Standin, source: EarthEngineSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the scenes of a fetch and counts the requests that the fetch then makes."""
    monkeypatch.setattr(tiling, "MAX_REQUEST_BYTES", 1000 * SENT_BYTES)
    standin.scenes = [scene(10), scene(20), scene(15, cloud_pct=99)]
    survey = source.estimate(query())
    assert [request.call for request in standin.requests] == ["compute"]
    standin.requests = []
    assert survey.provenance == source.fetch(query()).provenance
    assert len(survey.provenance.scenes) == 2
    assert survey.requests == len(standin.requests) == 3
    assert survey.bytes == 24 * 24 * 2 * SENT_BYTES
    standin.scenes = standin.scenes[2:]
    with pytest.raises(NoImageryError, match="of 1 scenes, none is within the limits"):
        source.estimate(query())
