"""The pixel grid of a region: local UTM zone, ground meters, north up. Pure."""

from __future__ import annotations

import math

import numpy as np
import shapely
from pyproj import Proj

from geobento.schemas.errors import SpecError
from geobento.schemas.geometry import Area, PointBuffer, Region
from geobento.schemas.sample import PixelGrid
from imagery.geometry import (
    WGS84,
    get_transformer,
    parse_crs,
    region_geometry,
    reprojected,
    to_lonlat,
)

MIN_UTM_LATITUDE, MAX_UTM_LATITUDE = -80.0, 84.0
"""Range of latitudes in which UTM is defined."""
MAX_WIDTH_DEG = 6.0
"""Width of a UTM zone, the largest accepted width of a region."""
MAX_SCALE_ERROR = 0.01
"""Largest relative difference between a projected meter and a meter on the ground."""
BOUNDS_DENSIFY_POINTS = 21
"""Points per edge of a grid when its bounds in degrees are computed."""


def utm_crs(lon: float, lat: float) -> str:
    """The UTM zone of a point, as ``EPSG:326zz`` (north) or ``EPSG:327zz`` (south).

    Raises:
        SpecError: UTM is not defined at this latitude.
    """
    if not MIN_UTM_LATITUDE <= lat <= MAX_UTM_LATITUDE:
        raise SpecError(
            f"latitude {lat:g} is outside the range of UTM; accepted: "
            f"{MIN_UTM_LATITUDE:g} to {MAX_UTM_LATITUDE:g}",
            field="spatial",
        )
    zone = int((lon + 180) // 6) % 60 + 1
    return f"EPSG:{(32700 if lat < 0 else 32600) + zone}"


def for_region(region: Region, scale_m: float, snap_m: float | None = None) -> PixelGrid:
    """The pixel grid of a region in its local UTM zone.

    Args:
        region: Point with a buffer, box or polygon.
        scale_m: Ground size of a pixel, meters.
        snap_m: Pixel size of the sensor's native grid, whose corners lie at multiples of it.
            Output corners are snapped to multiples of it, or of `scale_m` where `scale_m` is finer
            or a multiple of it. None disables snapping.

    Returns:
        For a point with a buffer: the square of ``round(2 * buffer / scale)`` pixels a side whose
        center is nearest to the point. For a box or polygon: the smallest covering grid.

    Raises:
        SpecError: The region lies outside UTM, is too wide for one zone or invalid, or its CRS is
            unknown.
    """
    if isinstance(region, PointBuffer):
        return _square_grid(region, scale_m, snap_m)
    return _covering_grid(region, scale_m, snap_m)


def lonlat_bounds(grid: PixelGrid) -> tuple[float, float, float, float]:
    """(west, south, east, north) of a grid in degrees, including its curved edges.

    West exceeds east where the grid crosses the antimeridian, as in GeoJSON.
    """
    left, bottom, right, top = grid.bounds
    return get_transformer(grid.crs, WGS84).transform_bounds(
        left, bottom, right, top, densify_pts=BOUNDS_DENSIFY_POINTS
    )


def has_ground_meters(grid: PixelGrid) -> bool:
    """Whether the unit of a grid's CRS is a meter on the ground, at the center of the grid.

    False for degrees, feet, and projections that stretch, such as Web Mercator.

    Raises:
        SpecError: The grid lies outside the domain of its CRS.
    """
    crs = parse_crs(grid.crs)
    if not crs.is_projected or crs.axis_info[0].unit_conversion_factor != 1:
        return False
    left, bottom, right, top = grid.bounds
    scale = Proj(crs).get_factors(*to_lonlat(grid.crs, (left + right) / 2, (bottom + top) / 2))
    return all(
        abs(factor - 1) < MAX_SCALE_ERROR
        for factor in (scale.meridional_scale, scale.parallel_scale)
    )


def lonlat_corners(grid: PixelGrid) -> list[tuple[float, float]]:
    """(longitude, latitude) of a grid's corners: a closed, counterclockwise ring from the
    northwest.
    """
    left, bottom, right, top = grid.bounds
    corners = [(left, top), (left, bottom), (right, bottom), (right, top), (left, top)]
    transformer = get_transformer(grid.crs, WGS84)
    return [
        (round(x, 7), round(y, 7))
        for x, y in (transformer.transform(*corner) for corner in corners)
    ]


def _square_grid(region: PointBuffer, scale_m: float, snap_m: float | None) -> PixelGrid:
    crs = utm_crs(*to_lonlat(region.crs, region.lon, region.lat))
    x, y = get_transformer(region.crs, crs).transform(region.lon, region.lat)
    count = max(1, round(2 * region.buffer_m / scale_m))
    step = _snap_step(scale_m, snap_m)
    left, top = x - count * scale_m / 2, y + count * scale_m / 2
    if step is not None:
        left, top = round(left / step) * step, round(top / step) * step
    return PixelGrid(crs, (scale_m, 0.0, left, 0.0, -scale_m, top), count, count)


def _covering_grid(region: Area, scale_m: float, snap_m: float | None) -> PixelGrid:
    shape = region_geometry(region)
    crs = _utm_zone(shape, region.crs)
    left, bottom, right, top = reprojected(shape, region.crs, crs).bounds
    step = _snap_step(scale_m, snap_m)
    if step is not None:
        left, top = math.floor(left / step) * step, math.ceil(top / step) * step
    width = max(1, math.ceil((right - left) / scale_m - 1e-9))
    height = max(1, math.ceil((top - bottom) / scale_m - 1e-9))
    return PixelGrid(crs, (scale_m, 0.0, left, 0.0, -scale_m, top), height, width)


def _utm_zone(shape: shapely.Geometry, source: str) -> str:
    """The UTM zone of the center of a geometry."""
    points = shapely.get_coordinates(reprojected(shape, source, WGS84))
    left, bottom, right, top = shape.bounds
    middle, latitude = get_transformer(source, WGS84).transform(
        (left + right) / 2, (bottom + top) / 2
    )
    east = (points[:, 0] - middle + 180) % 360 - 180
    if (width := float(np.ptp(east))) > MAX_WIDTH_DEG + 1e-9:
        raise SpecError(
            f"the region is {width:g} degrees wide; accepted: up to {MAX_WIDTH_DEG:g}, the width "
            "of a UTM zone. Across the antimeridian, a box has minlon greater than maxlon, and a "
            "polygon is cut in two",
            field="spatial",
        )
    for edge in (points[:, 1].min(), points[:, 1].max()):
        utm_crs(middle, float(edge))
    return utm_crs(middle, latitude)


def _snap_step(scale_m: float, snap_m: float | None) -> float | None:
    """Corners are snapped to multiples of this; None disables snapping.

    Pixels that are a multiple of the native ones snap to their own size, and so do finer pixels:
    the native grid would move the center by several of them.
    """
    if snap_m is None:
        return None
    nests = math.isclose(scale_m / snap_m, round(scale_m / snap_m), abs_tol=1e-9)
    return scale_m if nests or scale_m < snap_m else snap_m
