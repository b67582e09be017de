"""Regions to pixel grids."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from geobento.schemas.errors import SpecError
from geobento.schemas.geometry import BBox, MultiPolygon, PointBuffer, Polygon, Region
from imagery import grid

longitudes = st.floats(-179.9, 179.9)
latitudes = st.floats(-79, 83)


@given(longitudes, latitudes, st.floats(20, 5000), st.sampled_from([10.0, 20.0, 30.0]))
@settings(max_examples=60, deadline=None)
def test_a_square_is_centred_on_its_point_and_on_the_lattice(
    lon: float, lat: float, buffer_m: float, scale: float
) -> None:
    """Snapping moves the centre by at most half a pixel; corners are multiples of the pixel."""
    made = grid.for_region(PointBuffer(lon, lat, buffer_m), scale, 10)
    left, bottom, right, top = made.bounds
    x, y = Transformer.from_crs(4326, made.crs, always_xy=True).transform(lon, lat)
    assert abs((left + right) / 2 - x) <= scale / 2 + 1e-6
    assert abs((bottom + top) / 2 - y) <= scale / 2 + 1e-6
    assert left % scale == pytest.approx(0, abs=1e-6)
    assert top % scale == pytest.approx(0, abs=1e-6)
    assert made.height == made.width == max(1, round(2 * buffer_m / scale))


@given(longitudes, latitudes, st.sampled_from([1.0, 3.0, 5.0]))
@settings(max_examples=30, deadline=None)
def test_pixels_finer_than_the_lattice_stay_centred(lon: float, lat: float, scale: float) -> None:
    """Snapping 3 m pixels to a 10 m lattice would move the region by more than a pixel."""
    left, bottom, right, top = grid.for_region(PointBuffer(lon, lat, 200), scale, 10).bounds
    crs = grid.utm_crs(lon, lat)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    assert abs((left + right) / 2 - x) <= scale / 2 + 1e-6
    assert abs((bottom + top) / 2 - y) <= scale / 2 + 1e-6


@given(longitudes, latitudes)
@settings(max_examples=40, deadline=None)
def test_metres_are_ground_metres(lon: float, lat: float) -> None:
    """A side of 2 km in the grid is 2 km on the ellipsoid, to 0.2 percent, at any latitude."""
    made = grid.for_region(PointBuffer(lon, lat, 1000), 10, 10)
    left, bottom, right, top = made.bounds
    back = Transformer.from_crs(made.crs, 4326, always_xy=True)
    middle = (bottom + top) / 2
    west, east = back.transform(left, middle), back.transform(right, middle)
    _, _, distance = Geod(ellps="WGS84").inv(*west, *east)
    assert distance == pytest.approx(2000, rel=0.002)


@given(st.floats(-180, 180), st.floats(-79, 78), st.floats(0.001, 5.9), st.floats(0.001, 0.5))
@settings(max_examples=40, deadline=None)
def test_a_box_is_covered(lon: float, lat: float, width: float, height: float) -> None:
    """Every point of a box's outline lies in the grid: edges are curves in UTM."""
    beyond = 360 if lon + width > 180 else 0
    box = BBox(lon, lat, lon + width - beyond, lat + height)
    made = grid.for_region(box, 10, 10)
    forth = Transformer.from_crs(4326, made.crs, always_xy=True)
    left, bottom, right, top = made.bounds
    along = np.linspace(0, 1, 777)
    level = np.zeros_like(along)
    across = np.concatenate([along, along, level, level + 1])
    up = np.concatenate([level, level + 1, along, along])
    x, y = forth.transform(lon + across * width, lat + up * height)
    assert left - 0.005 <= x.min()
    assert x.max() <= right + 0.005
    assert bottom - 0.005 <= y.min()
    assert y.max() <= top + 0.005


def test_the_example_of_the_documentation() -> None:
    """The region that the README asks for lies in zone 36 south, 200 pixels a side."""
    made = grid.for_region(PointBuffer(34.066, -3.401, 1000), 10, 10)
    assert made.crs == "EPSG:32736"
    assert made.shape == (200, 200)


def test_without_a_lattice_the_centre_is_exact() -> None:
    """Sentinel-1 has no common lattice: nothing is snapped."""
    made = grid.for_region(PointBuffer(34.066, -3.401, 1000), 10)
    left, bottom, right, top = made.bounds
    x, y = Transformer.from_crs(4326, made.crs, always_xy=True).transform(34.066, -3.401)
    assert (left + right) / 2 == pytest.approx(x, abs=1e-6)
    assert (bottom + top) / 2 == pytest.approx(y, abs=1e-6)


def test_the_smallest_region_is_one_pixel() -> None:
    """A buffer below half a pixel still has a pixel."""
    assert grid.for_region(PointBuffer(0, 0, 0.1), 10, 10).shape == (1, 1)


@pytest.mark.parametrize(
    ("lon", "lat", "crs"),
    [
        (-180, 0, "EPSG:32601"),
        (180, 0, "EPSG:32601"),
        (179.99, 10, "EPSG:32660"),
        (0, -0.001, "EPSG:32731"),
        (11, 48, "EPSG:32632"),
    ],
)
def test_zones(lon: float, lat: float, crs: str) -> None:
    """The zone of a point, also at the antimeridian and just south of the equator."""
    assert grid.utm_crs(lon, lat) == crs


@pytest.mark.parametrize(
    "region",
    [
        PointBuffer(0, 85, 100),
        PointBuffer(0, -81, 100),
        PointBuffer(0, 0, 100, "EPSG:3413"),
        BBox(0, 80, 1, 85),
        BBox(0, 0, 7, 1),
        BBox(179, 0, -174, 1),
        BBox(-180, -90, 180, 90),
        BBox(-200_000, -200_000, 200_000, 200_000, "EPSG:3413"),
        Polygon((((0, 80), (1, 80), (1, 84.5), (0, 80)),)),
        Polygon((((179, 0), (-179, 0), (-179, 1), (179, 0)),)),
    ],
)
def test_regions_outside_utm_are_refused(region: Region) -> None:
    """Near the poles, and wider than a zone: an error that says what is accepted."""
    with pytest.raises(SpecError, match="accepted") as caught:
        grid.for_region(region, 10, 10)
    assert caught.value.field == "spatial"


def test_bounds_in_degrees_hold_the_region() -> None:
    """What is searched for covers what is asked for."""
    region = PointBuffer(34.066, -3.401, 1000)
    west, south, east, north = grid.lonlat_bounds(grid.for_region(region, 10, 10))
    assert west < region.lon < east
    assert south < region.lat < north
    assert east - west == pytest.approx(0.018, rel=0.02)


@pytest.mark.parametrize("lon", [179.999, -179.999, 180, -180])
def test_bounds_across_the_antimeridian(lon: float) -> None:
    """West is greater than east there, as in GeoJSON, and both are real longitudes."""
    west, _, east, _ = grid.lonlat_bounds(grid.for_region(PointBuffer(lon, 0.5, 1000), 10, 10))
    assert 179.9 < west <= 180
    assert -180 <= east < -179.9


@given(longitudes, latitudes, st.floats(50, 3000), st.sampled_from([3857, 4258, 2154, 3413]))
@settings(max_examples=40, deadline=None)
def test_a_square_in_another_reference_system(
    lon: float, lat: float, buffer_m: float, code: int
) -> None:
    """The same point is the same square, to a pixel, in whatever numbers it was given."""
    x, y = Transformer.from_crs(4326, code, always_xy=True).transform(lon, lat)
    if not np.isfinite([x, y]).all() or (code == 2154 and not (-5 < lon < 10 and 41 < lat < 51)):
        return
    region = PointBuffer(x, y, buffer_m, f"EPSG:{code}")
    here, there = (
        grid.for_region(PointBuffer(lon, lat, buffer_m), 10, 10),
        grid.for_region(region, 10),
    )
    if here.crs == there.crs:  # the point may lie on the border of two zones
        assert there.transform[2] == pytest.approx(here.transform[2], abs=6)
        assert there.transform[5] == pytest.approx(here.transform[5], abs=6)


@given(longitudes, latitudes, st.floats(500, 20_000), st.floats(-0.45, 0.45))
@settings(max_examples=30, deadline=None)
def test_a_box_on_the_grid_of_its_zone_is_itself(
    lon: float, lat: float, side: float, off: float
) -> None:
    """A box in the reference system of its own zone is covered by just its pixels."""
    crs = grid.utm_crs(lon, lat)
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    left, bottom = round(x, -1), round(y, -1)
    width = round(side, -1)
    made = grid.for_region(
        BBox(left - width, bottom - 500, left + width, bottom + 500, crs), 10, 10
    )
    if made.crs == crs:
        assert made.bounds == (left - width, bottom - 500, left + width, bottom + 500)


def test_north_is_up_across_the_antimeridian() -> None:
    """A box from 179.9 to -179.9 degrees is 0.2 degrees wide, and all of it is covered."""
    made = grid.for_region(BBox(179.9, -17.1, -179.9, -16.9), 100)
    west, south, east, north = grid.lonlat_bounds(made)
    assert made.crs == "EPSG:32701"
    assert (west, south, east, north) == pytest.approx((179.9, -17.1, -179.9, -16.9), abs=0.01)
    assert west <= 179.9
    assert east >= -179.9
    assert made.height == pytest.approx(222, abs=5)


def test_a_polygon_cut_at_the_antimeridian() -> None:
    """Both parts make one region, as GeoJSON asks for."""
    west = (((179.9, -17), (180, -17), (180, -16.9), (179.9, -17)),)
    east = (((-180, -17), (-179.9, -17), (-180, -16.9), (-180, -17)),)
    made = grid.for_region(MultiPolygon((west, east)), 100)
    assert made.width == pytest.approx(213, abs=5)


def test_a_polygon_is_covered_by_its_bounding_box() -> None:
    """Not more is fetched than the polygon reaches to."""
    x, y = 500_000, 5_000_000
    back = Transformer.from_crs("EPSG:32632", 4326, always_xy=True)
    corners = [(x, y), (x + 500, y + 1000), (x - 700, y + 300), (x, y)]
    made = grid.for_region(Polygon((tuple(back.transform(*corner) for corner in corners),)), 10)
    assert made.bounds == pytest.approx((x - 700, y, x + 500, y + 1000), abs=20)
    assert made.bounds[0] <= x - 699.9
    assert made.bounds[2] >= x + 499.9


@given(
    st.integers(-30, 30),
    st.floats(-0.02, 0.02),
    st.floats(-80, 84),
    st.floats(100, 4000),
    st.sampled_from([10.0, 20.0]),
)
@settings(max_examples=60, deadline=None)
def test_squares_on_the_border_of_zones(
    border: int, off: float, lat: float, buffer_m: float, scale: float
) -> None:
    """From -80 to 84 degrees, over the border too, the centre stays within half a pixel."""
    lon = min(max(6 * border + off, -180), 180)
    made = grid.for_region(PointBuffer(lon, lat, buffer_m), scale, 10)
    x, y = Transformer.from_crs(4326, made.crs, always_xy=True).transform(lon, lat)
    left, bottom, right, top = made.bounds
    assert abs((left + right) / 2 - x) <= scale / 2 + 1e-6
    assert abs((bottom + top) / 2 - y) <= scale / 2 + 1e-6
    west, south, east, north = grid.lonlat_bounds(made)
    assert south < lat < north
    assert (east - west) % 360 < 1
