"""How much of a cell lies inside a polygon."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from geobento.schemas.errors import SpecError
from geobento.schemas.geometry import MultiPolygon, Polygon
from geobento.schemas.sample import PixelGrid
from imagery import cell_fractions, grid

CRS = "EPSG:32632"
GRID = PixelGrid(CRS, (100.0, 0.0, 500_000.0, 0.0, -100.0, 5_001_000.0), 10, 20)
BACK = Transformer.from_crs(CRS, 4326, always_xy=True)


def polygon(*corners: tuple[float, float]) -> Polygon:
    """A polygon with its corners in metres from the south-western corner of the grid."""
    ring = [BACK.transform(500_000 + x, 5_000_000 + y) for x, y in corners]
    return Polygon(((*ring, ring[0]),))


def test_a_rectangle() -> None:
    """Cells inside, cut and outside, the first row in the north."""
    shares = cell_fractions.cell_fractions(
        polygon((0, 1000), (150, 1000), (150, 750), (0, 750)), GRID
    )
    expected = np.zeros((10, 20))
    expected[:2, 0], expected[:2, 1], expected[2, 0], expected[2, 1] = 1, 0.5, 0.5, 0.25
    np.testing.assert_allclose(shares, expected, atol=1e-4)


def test_weights_are_shares_of_the_area() -> None:
    """Row by row with sum 1, in the type that vectors have."""
    weights = cell_fractions.area_weights(
        polygon((0, 1000), (150, 1000), (150, 900), (0, 900)), GRID
    )
    assert weights.shape == (200,)
    assert weights.dtype == np.float32
    assert weights[:3].tolist() == pytest.approx([2 / 3, 1 / 3, 0], abs=1e-4)
    assert weights.sum() == pytest.approx(1, abs=1e-6)


@given(
    st.lists(
        st.tuples(st.floats(50, 1950), st.floats(50, 950)), min_size=3, max_size=3, unique=True
    )
)
@settings(max_examples=50, deadline=None)
def test_shares_add_up_to_the_area(corners: list[tuple[float, float]]) -> None:
    """Whatever the shape, nothing of it is lost or counted twice."""
    (ax, ay), (bx, by), (cx, cy) = corners
    area = abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2
    if area < 100:
        return
    shares = cell_fractions.cell_fractions(polygon(*corners), GRID)
    assert shares.min() >= 0
    assert shares.max() <= 1
    assert shares.sum() * 1e4 == pytest.approx(area, rel=1e-3, abs=200)


def test_both_sides_of_the_antimeridian() -> None:
    """A polygon that was cut there covers its own bounding box as if it were not."""
    west = (((179.9, -17.0), (180, -17), (180, -16.9), (179.9, -16.9), (179.9, -17)),)
    east = (((-180, -17.0), (-179.9, -17), (-179.9, -16.9), (-180, -16.9), (-180, -17)),)
    region = MultiPolygon((west, east))
    shares = cell_fractions.cell_fractions(region, grid.for_region(region, 100).cells(9, 9))
    assert shares[1:-1, 1:-1] == pytest.approx(1)
    assert shares.min() > 0.5


def test_a_polygon_elsewhere() -> None:
    """Nothing to average is an error and not a division by zero."""
    with pytest.raises(SpecError, match="outside") as caught:
        cell_fractions.area_weights(polygon((5000, 0), (6000, 0), (6000, 500)), GRID)
    assert caught.value.field == "spatial"


def test_a_sliver_inside_one_cell() -> None:
    """A polygon smaller than a cell counts that cell alone."""
    weights = cell_fractions.area_weights(polygon((110, 10), (112, 10), (112, 12)), replace(GRID))
    assert weights.argmax() == 9 * 20 + 1
    assert weights.max() == pytest.approx(1)
